// Light or dark: as the system says, until the reader chooses. The choice stays in this browser.

const ORDER = ["auto", "light", "dark"];
const KEY = "meshware-theme";
const TEXT = { auto: "Auto", light: "Light", dark: "Dark" };
const LABEL = {
  auto: "Colours: as the system has them",
  light: "Colours: light",
  dark: "Colours: dark",
};

/** Carry out the stored choice and let the button change it; `changed` is called after each. */
export function startTheme(changed) {
  const button = document.getElementById("theme");
  let theme = stored();
  const apply = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = TEXT[theme];
    button.setAttribute("aria-label", `${LABEL[theme]}. Change`);
    changed();
  };
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // storage is off in this browser: the choice lasts as long as the page
    }
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  apply();
}

function stored() {
  try {
    const theme = localStorage.getItem(KEY);
    return ORDER.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}
