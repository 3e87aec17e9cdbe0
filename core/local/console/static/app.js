// The console's story: choose a viewer, show what they get, teach, and show what moved.

import { about, become, call, currentViewer, titlesOf } from "./api.js";
import { compare, summary } from "./compare.js";
import { openDetails } from "./details.js";
import { announce, announceAgain, clearProblem, find, make, show, showProblem, wireTheme } from "./page.js";
import * as panels from "./panels.js";
import { openStars, showGone, showLegend, showPlain, showRows } from "./rows.js";
import { awaitAnswer, causeOf, described, eventOf } from "./teach.js";

const SHOWN = 10;
const PATTERNS = 4;
let choices = { viewers: [], genres: [], age_bands: [], regions: [] };
let answer = null; // what is on the page
let asked = ""; // the words that it answers
let visit = 0; // counts the viewers: whatever was asked for an earlier one is dropped
let work = Promise.resolve(); // interactions go one after the other

const request = (more = {}) => ({ limit: SHOWN, ...(asked ? { query: asked } : {}), ...more });
const recommendations = (more) => call("/api/v1/recommendations", request(more));

/** Run one of the page's steps; a failure is told, and the page stays usable. */
async function step(action) {
  const mine = visit;
  try {
    return await action(() => mine === visit);
  } catch (problem) {
    if (mine === visit) showProblem(problem);
    return null;
  }
}

/** As `step`, after whatever was begun before. What is left of an earlier viewer's work is dropped. */
function queue(action) {
  const mine = visit;
  work = work.then(() => (mine === visit ? step(action) : null));
  return work;
}

// Who is watching

function chooseViewer() {
  visit += 1;
  for (const id of ["stage", "onboarding", "switch"]) show(id, false);
  show("start");
  show("simulated", choices.viewers.length > 0);
  const cards = choices.viewers.map((viewer) => {
    const name = make("b", {}, capital(viewer.user_id));
    const card = make("button", { type: "button", "data-viewer": viewer.user_id }, name, make("span", {}, viewer.about));
    card.addEventListener("click", () => enter(viewer.user_id));
    return make("li", {}, card);
  });
  find("viewers").replaceChildren(...cards);
  find("main").focus({ preventScroll: true });
}

async function enter(userId, fresh = false) {
  visit += 1;
  clearProblem();
  const entered = await step(async () => {
    await become(userId);
    return true;
  });
  if (!entered) return;
  history.replaceState(null, "", `#${new URLSearchParams({ viewer: userId })}`);
  answer = null;
  asked = find("words").value = "";
  panels.clearLog();
  show("start", false);
  show("switch");
  find("freshness").textContent = "–";
  find("freshness-note").textContent = "do something to measure it";
  nameViewer(userId, fresh);
  if (fresh) return offerOnboarding();
  await openStage();
}

function nameViewer(userId, fresh) {
  const known = choices.viewers.find((viewer) => viewer.user_id === userId);
  find("viewer-name").textContent = known ? capital(userId) : fresh ? "Somebody new" : userId;
  find("viewer-kind").textContent = known ? `Simulated viewer, ${known.region}` : "Viewer";
  find("viewer-about").textContent = known ? `Really likes ${known.about}. SONA knows only the few genres this viewer named and what they did.` : fresh ? `Known to SONA as ${userId}, from now on.` : "";
}

function offerOnboarding() {
  show("onboarding");
  show("stage", false);
  find("tell").reset();
  find("genres").querySelector("input")?.focus();
}

async function openStage() {
  show("onboarding", false);
  show("stage");
  showGone([]);
  await step(async (current) => {
    await present(await recommendations(), null, current);
    if (current()) find("main").focus({ preventScroll: true });
  });
}

// What they get

/** Put an answer on the page; moved: how it differs from the one before. */
async function present(next, moved, current) {
  const factsOf = await titlesOf([...next.recommendations.map((item) => item.content_id), ...mentioned(next)]);
  if (!current()) return;
  answer = next;
  showLegend(new Set(next.recommendations.flatMap((item) => Object.keys(item.score_parts))));
  showRows(next.recommendations, factsOf, moved);
  showGone(moved?.gone ?? []);
  find("learned-title").textContent = asked ? `Learning on, for “${asked}”` : "Learning on";
  if (!moved) find("moved-summary").textContent = next.recommendations.length ? "Do something below: what moves is marked, with its reason." : "Nothing fits. Ask for something else.";
  panels.showDegraded(next.degraded);
  panels.showExperiments(next.experiments);
  step((still) => showInside(next, factsOf, still)); // the rows do not wait for it
}

const mentioned = ({ routing }) => [
  ...(routing?.entities.titles.flatMap((title) => title.content_ids.slice(0, 1)) ?? []),
  ...(routing?.availability.map((offer) => offer.content_id) ?? []),
];

/** Everything beside the rows; it never holds them up. */
async function showInside(shown, factsOf, current) {
  const sources = [...new Set(shown.recommendations.flatMap((item) => item.based_on))].slice(0, 12);
  const suited = shown.routing ? call("/api/v1/attention/select", { query_text: asked }) : null;
  const [plain, stats, patterns, mechanisms] = await Promise.all([
    recommendations({ personalize: false }),
    call("/api/v1/adapter/stats").catch((problem) => problem),
    sources.length ? call("/api/v1/patterns/search", { query_content_ids: sources, limit: PATTERNS }) : null,
    suited?.catch(() => null),
  ]);
  const results = patterns?.patterns.flatMap((pattern) => Object.keys(pattern.results)) ?? [];
  await titlesOf([...plain.recommendations.map((item) => item.content_id), ...results]);
  if (!current() || shown !== answer) return;
  showPlain(plain.recommendations, shown.recommendations, factsOf);
  panels.showWeights(shown.weights, plain.weights);
  panels.showAdapter(stats, { rollBack, train });
  panels.showPatterns(patterns, new Set(shown.recommendations.map((item) => item.pattern_id).filter(Boolean)), factsOf);
  panels.showRoute(shown.routing, mechanisms, factsOf);
}

// What they do

/** Send an interaction, wait for the answer that knows it, and show what moved. */
function interact(item, act, stars = null) {
  const row = [...find("rows").children].find((one) => one.dataset.id === item.content_id);
  row.setAttribute("aria-busy", "true");
  queue(async (current) => {
    clearProblem();
    const before = answer;
    const known = (await knowing(before)).known_events;
    await call("/api/v1/interactions", eventOf(item, act, stars, before));
    const knows = (next) => next.known_events > known;
    const { changed, took } = await awaitAnswer(recommendations, knows, current);
    if (changed) await tell(described(item, act, stars), before, changed, took, causeOf(item, act), current);
  }).finally(() => row.removeAttribute("aria-busy"));
}

async function tell(what, before, after, took, cause, current) {
  const moved = compare(before.recommendations, after.recommendations, cause);
  const said = summary(moved);
  find("moved-summary").textContent = `${what}: ${said}.`;
  if (took !== null) {
    find("freshness").textContent = Math.round(took);
    find("freshness-note").textContent = what;
  }
  await present(after, moved, current);
  panels.addToLog(what, took, said);
  announce(`${what}. ${took === null ? "" : `${Math.round(took)} milliseconds later: `}${said}.`);
}

/** An answer that knows the viewer: `shown`, unless it had to do without the viewer's state. */
const knowing = async (shown) => (shown.degraded.includes("user_state") ? recommendations() : shown);

/** An action on the adapter, after which the answer may differ. */
function adjust(what, path, body) {
  queue(async (current) => {
    clearProblem();
    const before = answer;
    const done = await call(path, body);
    const outcome = done.status.replaceAll("_", " ");
    await tell(`${what}: ${outcome}`, before, await recommendations(), null, null, current);
  });
}

const rollBack = (version) => adjust(`Roll back to version ${version}`, "/api/v1/adapter/rollback", { version });
const train = () => adjust("Train now", "/api/v1/lora/train", { force: true });

function onRowClick(event) {
  const button = event.target.closest("button[data-act]");
  const row = button?.closest("li");
  const item = answer?.recommendations.find((one) => one.content_id === row?.dataset.id);
  if (!item || row.getAttribute("aria-busy")) return;
  const act = button.dataset.act;
  if (act === "rate") {
    openStars(row, row.querySelector(".stars").hidden);
    if (!row.querySelector(".stars").hidden) row.querySelector(".stars button").focus();
  } else if (act === "stars") {
    interact(item, "rate", Number(button.dataset.stars));
  } else {
    if (act === "click") step((current) => openDetails(item, current));
    interact(item, act);
  }
}

function onRowKey(event) {
  const stars = event.target.closest(".stars");
  if (event.key !== "Escape" || !stars) return;
  const row = stars.closest("li");
  openStars(row, false);
  row.querySelector('[data-act="rate"]').focus();
}

function onboard(event) {
  event.preventDefault();
  const genres = [...find("genres").querySelectorAll("input:checked")].map((box) => box.value);
  const said = { genres, age_band: find("age-band").value, region: find("region").value };
  step(async (current) => {
    const before = await recommendations();
    const told = Object.fromEntries(Object.entries(said).filter(([, value]) => value.length));
    if (!Object.keys(told).length) return openStage();
    await call("/api/v1/profile/onboarding", told);
    show("onboarding", false);
    show("stage");
    await present(before, null, current);
    const knows = (next) => next.known_events > before.known_events;
    const { changed, took } = await awaitAnswer(recommendations, knows, current);
    const what = genres.length ? `Chose ${genres.join(", ")}` : "Said something";
    if (changed) await tell(what, before, changed, took, null, current);
    return find("main").focus({ preventScroll: true });
  });
}

function ask(event) {
  event?.preventDefault();
  const words = find("words").value.trim();
  show("clear", words !== "");
  queue(async (current) => {
    clearProblem();
    asked = words;
    const next = await recommendations();
    if (!current()) return;
    await present(next, null, current);
    const route = next.routing ? `, understood as ${next.routing.route_name.replaceAll("_", " ")}` : "";
    announce(asked ? `${next.recommendations.length} titles for ${asked}${route}.` : "Back to everything.");
  });
}

// The page itself

const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1);
const newId = () => `guest-${crypto.randomUUID().slice(0, 8)}`;

function wire() {
  find("switch").addEventListener("click", () => {
    history.replaceState(null, "", "/");
    chooseViewer();
  });
  find("new-viewer").addEventListener("click", () => enter(newId(), true));
  find("by-name").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(find("viewer-id").value.trim());
  });
  find("tell").addEventListener("submit", onboard);
  find("say-nothing").addEventListener("click", () => openStage());
  find("ask").addEventListener("submit", ask);
  find("clear").addEventListener("click", () => {
    find("words").value = "";
    find("words").focus();
    ask();
  });
  find("details").addEventListener("close", announceAgain);
  find("rows").addEventListener("click", onRowClick);
  find("rows").addEventListener("keydown", onRowKey);
}

function fillChoices() {
  const chips = choices.genres.map((genre) => make("label", {}, make("input", { type: "checkbox", name: "genre", value: genre }), make("span", {}, genre)));
  find("genres").replaceChildren(...chips);
  for (const [id, values] of [["age-band", choices.age_bands], ["region", choices.regions]]) {
    find(id).append(...values.map((value) => make("option", { value }, value)));
  }
}

async function start() {
  wireTheme();
  wire();
  choices = (await step(about)) ?? choices;
  fillChoices();
  const named = new URLSearchParams(location.hash.slice(1)).get("viewer");
  if (named) await enter(named);
  if (!currentViewer()) chooseViewer();
}

start();
