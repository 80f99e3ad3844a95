// Asks for the picture once a second and draws it. The key, if there is one, came behind the # of the address
// or is typed in; it stays in this tab.

import * as charts from "./charts.js";
import * as lanes from "./lanes.js";
import { drawFailures, drawFindings, drawMessages } from "./lists.js";
import { find, say, span } from "./parts.js";

const EVERY = 1000; // milliseconds
const PATIENCE = 8000;

let picture = null;

function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem("key", given);
    history.replaceState(null, "", location.pathname);
  }
}

const key = () => sessionStorage.getItem("key") || "";
const bearer = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

async function ask() {
  let answer;
  try {
    answer = await fetch("/state.json", { headers: bearer(), cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.ok) picture = await answer.json();
  } catch {
    return health(false, "the service does not answer");
  }
  if (answer.status === 401) return locked();
  if (!answer.ok) return health(false, `the service answers ${answer.status}`);
  try {
    draw();
  } catch (error) {
    reportError(error);
    health(false, "this page cannot draw what it was told");
  }
}

function locked() {
  sessionStorage.removeItem("key");
  health(false, "the key is needed");
  find("#key").hidden = false;
}

function health(well, words) {
  find("#health").className = `pill ${well ? "well" : "ill"}`;
  say(find("#health span"), words);
}

function draw() {
  const now = picture.at;
  health(picture.well, picture.well ? "live" : "not well");
  find("#health").title = picture.silence === null ? "" : `Discord answered ${span(picture.silence)} ago`;
  document.title = `${picture.well ? "" : "! "}spoolbridge`;
  drawFindings(find(".findings"), picture);
  figures(now);
  lanes.draw(find("#spool"), picture);
  charts.draw(picture);
  const may = !picture.retry && Boolean(key());
  say(find("#retry-hint"), picture.retry);
  find("#retry-hint").hidden = !picture.retry;
  find("#key").hidden = Boolean(picture.retry) || Boolean(key());
  drawFailures(find(".failures"), picture, retry, may);
  drawMessages(find("#out ul"), picture.out, now);
  drawMessages(find("#in ul"), picture.in, now);
  const silence = picture.silence === null ? "" : `, Discord answered ${span(picture.silence)} ago`;
  say(find("#about"), `spoolbridge ${picture.version}, running for ${span(now - picture.since)}${silence}`);
}

function figures(now) {
  const waiting = count("outgoing") + count("sending");
  const rate = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
  figure("sent", rate(picture.rates.sent));
  figure("filed", rate(picture.rates.filed));
  figure("waiting", waiting.toLocaleString("en"));
  figure("oldest", picture.oldest === null ? "nothing" : `the oldest for ${span(Math.max(1, now - picture.oldest))}`);
  figure("failed", picture.failed.toLocaleString("en")).classList.toggle("some", picture.failed > 0);
}

const count = (state) => picture.channels.reduce((sum, channel) => sum + channel[state].count, 0);

function figure(name, words) {
  const where = find(`[data-figure="${name}"]`);
  say(where, words);
  return where;
}

async function retry(failure, button) {
  button.disabled = true;
  try {
    const answer = await fetch("/retry", {
      method: "POST",
      headers: { ...bearer(), "Content-Type": "application/json" },
      body: JSON.stringify({ channel: failure.channel, file: failure.file }),
    });
    const words = (await answer.text()).trim();
    say(find(".told"), answer.ok ? `${failure.name || failure.id}: it is in outgoing/ again.` : words);
    if (answer.status === 401) locked();
  } catch {
    say(find(".told"), "The service does not answer.");
  }
  button.disabled = false;
  await ask();
}

find("#key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", find("#key-text").value.trim());
  find("#key-text").value = "";
  ask();
});
addEventListener("hashchange", takeKey);
addEventListener("resize", () => picture && charts.draw(picture));

async function run() {
  for (;;) {
    if (!document.hidden) await ask();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

takeKey();
run();
