// What a viewer does, as the interface's events, and the wait for the answer that knows of it.

import { Problem } from "./api.js";

const PATIENCE_MS = 10000; // for an accepted interaction to change the answer
const FIRST_PAUSE_MS = 15; // between two looks at the answer; the pauses grow
const LONGEST_PAUSE_MS = 400;

const ACTS = {
  click: { type: "search_click", verb: "Opened" },
  watch: { type: "watch_complete", verb: "Watched", seen: "Watched to the end, so it is not shown again" },
  like: { type: "like", verb: "Liked", seen: "Liked, so it counts as seen" },
  rate: { type: "rating_explicit", verb: "Rated", seen: "Rated, so it counts as seen" },
  skip: { type: "skip_content", verb: "Skipped", seen: "Skipped, so it is not shown again" },
};

/** What somebody did with a title, in words. */
export function described(item, act, stars) {
  return `${ACTS[act].verb} ${item.title}${stars ? `, ${stars} ${stars === 1 ? "star" : "stars"}` : ""}`;
}

/** What compare() needs to know of it. */
export const causeOf = (item, act) => ({ content_id: item.content_id, title: item.title, seen: ACTS[act].seen });

/** The event; shown: the answer in which the title stood. */
export function eventOf(item, act, stars, shown) {
  return {
    content_id: item.content_id,
    type: ACTS[act].type,
    device_type: "desktop",
    request_id: shown.request_id,
    ...(stars ? { rating: stars } : {}),
    ...(item.pattern_id ? { pattern_id: item.pattern_id } : {}),
  };
}

/** Ask until the answer shows it; took: ms from now, when the event was accepted, to the arrival of that answer. */
export async function awaitAnswer(ask, shows, current) {
  const accepted = performance.now();
  let pause = FIRST_PAUSE_MS;
  while (performance.now() - accepted < PATIENCE_MS) {
    const next = await ask();
    if (!current()) return { changed: null };
    if (shows(next)) return { changed: next, took: performance.now() - accepted };
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS);
  }
  throw new Problem(
    "It was accepted, but the answer has not changed within 10 seconds.",
    "`sona status` shows whether the broker and the functions run; nothing that was accepted is lost.",
  );
}
