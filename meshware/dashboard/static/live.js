// Server-sent events, and whether what is on the page is live.
//
// States: "connecting" -> "live" at the first event; "live" -> "lost" when the connection breaks or
// nothing came in SILENT_LOOKS looks, a second apart (the daemon sends a tick each second); "lost" ->
// "live" at the next event. A browser gives an EventSource up for good when it is answered with an
// error status, so a new one is made, each time after a longer wait.
//
// Looks are counted rather than seconds: a page that was busy for long looks once when it is done,
// and finds what came meanwhile before its next look. By the clock it would call itself lost, ask
// for everything anew, and be the busier for it.

const SILENT_LOOKS = 4;
const KINDS = ["tick", "graph", "layout", "policy", "call"];
const WAITS_MS = [500, 1000, 2000, 5000];

export class Live extends EventTarget {
  #source = null;
  #timer = 0;
  #failures = 0;
  #silent = 0; // looks since the last event
  state = "connecting";
  since = Date.now();

  start() {
    this.#open();
    setInterval(() => this.#watch(), 1000);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "lost") this.#reopen(0);
    });
  }

  #open() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#silent = 0;
    const source = new EventSource("/api/events");
    this.#source = source;
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        this.#silent = 0;
        this.#failures = 0;
        this.#become("live");
        this.#tell(kind, event.data);
      });
    }
    source.addEventListener("error", () => {
      this.#become("lost");
      if (source.readyState === EventSource.CLOSED) this.#reopen();
    });
  }

  #reopen(wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)]) {
    this.#failures += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  #watch() {
    this.#silent += 1;
    if (this.#silent < SILENT_LOOKS) return;
    this.#become("lost");
    // Connected, yet silent (a suspended machine, a proxy that holds on): ask again.
    if (this.#source?.readyState === EventSource.OPEN) this.#open();
  }

  #become(state) {
    if (state === this.state) return;
    const was = this.state;
    this.state = state;
    this.since = Date.now();
    this.dispatchEvent(new CustomEvent("state", { detail: { state, was } }));
  }

  #tell(kind, data) {
    let detail = null;
    try {
      detail = data ? JSON.parse(data) : null;
    } catch {
      return; // half a message is no message: the next one comes within a second
    }
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
