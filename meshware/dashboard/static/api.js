// The daemon's JSON: one request, one answer or one error that can be shown as it is.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** GET /api/<path>?<parameters>. Throws ApiError with a sentence for the reader. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(parameters).toString();
  let answer;
  try {
    answer = await fetch(`/api/${path}${query ? `?${query}` : ""}`, {
      signal,
      headers: { accept: "application/json" },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The daemon does not answer. Is `meshware sync` running?");
  }
  if (!answer.ok) throw new ApiError(answer.status, await reason(answer));
  return answer.json();
}

async function reason(answer) {
  if (answer.status === 401 || answer.status === 403) {
    return "Not allowed. Open the address that `meshware dashboard` prints: it carries the token.";
  }
  const text = await answer.text();
  try {
    return String(JSON.parse(text).message ?? text); // others may answer, as a proxy in between
  } catch {
    return text.slice(0, 500) || `The daemon answered ${answer.status}.`;
  }
}
