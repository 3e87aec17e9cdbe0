// The public HTTPS interface, spoken as the chosen viewer; every failure becomes words and what to do about them.

const PATIENCE_MS = 15000;
const REMEDIES = {
  400: "This looks like a mistake of the page: reload it.",
  403: "Open the page at the address that `sona up` printed.",
  404: "Reload the page: what it asks about has gone.",
  409: "Somebody changed it first: reload the page and try again.",
  413: "Ask for less at once.",
  422: "Change what you asked for and try again.",
};
const UNAVAILABLE = "What died is restarted within seconds: try again. `sona status` shows what runs; an edition without titles needs `sona import` and `sona snapshot build`.";

let viewer = null;
let token = null;

export class Problem extends Error {
  constructor(message, remedy, status = 0) {
    super(message);
    this.remedy = remedy;
    this.status = status;
  }
}

export function currentViewer() {
  return viewer;
}

/** From now on calls are this viewer's. */
export async function become(userId) {
  const answer = await send("/console/token", { user_id: userId });
  viewer = userId;
  token = answer.token;
}

/** POST to the public interface; a token that has expired is renewed once. */
export async function call(path, body = {}) {
  const asker = viewer;
  try {
    return await send(path, body, token);
  } catch (problem) {
    if (problem.status !== 401 || asker !== viewer) throw problem;
    await become(asker);
    return send(path, body, token);
  }
}

export function about() {
  return send("/console/about");
}

const facts = new Map();

/** Facts about titles, by content id; what is unknown is missing. */
export async function titlesOf(ids) {
  const missing = [...new Set(ids)].filter((id) => !facts.has(id));
  if (missing.length) {
    const query = new URLSearchParams(missing.map((id) => ["id", id]));
    const found = (await send(`/console/titles?${query}`)).titles;
    for (const id of missing) facts.set(id, found[id] ?? null);
  }
  return (id) => facts.get(id) ?? { title: id, genres: [], makers: [], cast: [], overview: "" };
}

async function send(path, body, bearer) {
  const headers = bearer ? { Authorization: `Bearer ${bearer}` } : {};
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Problem("No answer within 15 seconds.", UNAVAILABLE);
    throw new Problem("The laptop edition does not answer.", "Start it with `sona up`, then try again.");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  throw new Problem(sentence(said.message ?? `The answer was ${answer.status}`), remedy(answer), answer.status);
}

function remedy(answer) {
  const wait = answer.headers.get("Retry-After");
  if (answer.status === 429) return `Wait ${inWords(Number(wait))}, then try again.`;
  return REMEDIES[answer.status] ?? UNAVAILABLE;
}

function inWords(seconds) {
  if (seconds >= 90) return `${Math.ceil(seconds / 60)} minutes`;
  return seconds > 1 ? `${seconds} seconds` : "a second";
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
