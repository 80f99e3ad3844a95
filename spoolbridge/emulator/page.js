// The chat page: one state object, drawn from what the emulator's feed says. No framework, no storage.

import { answerTo, drawHumans, drawWords, newcomer, note, openBox, writer } from "/box.js";
import {
  CATEGORY, drawList, inOrder, isArchived, isThread, markList, sign, takesMessages, takesThreads, walkList,
} from "/channels.js";
import { askName } from "/dialog.js";
import { empty, place, regroup } from "/log.js";
import { element, plain } from "/markup.js";
import { closeTools, drawMessage, shownName } from "/message.js";
import { markMine } from "/reactions.js";

const NEAR = 120; // pixels from the end within which the log follows new messages

const $ = (id) => document.getElementById(id);
const state = {
  channels: new Map(), users: new Map(), roles: new Map(), // by id
  unread: new Set(), // ids of channels
  here: null, // id of the channel that is shown
  early: null, // what the feed said while a history is on its way
  added: [], // channels that the feed told of since the state was last asked for
  begun: null, // id of a thread that was started here and that the feed has not told of yet
};

// ---- The emulator's side

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(flat(body));
  return body;
}

const tell = (path, body) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

function flat(body) {
  const found = JSON.stringify(body.errors ?? {}).match(/"message":\s*"((?:[^"\\]|\\.)*)"/);
  return found ? JSON.parse(`"${found[1]}"`) : body.message;
}

async function load() {
  state.added = [];
  const said = await ask("/_emulator/state");
  $("guild").textContent = said.guild.name;
  // A channel made while this answer was on its way is not in it.
  state.channels = new Map([...said.channels, ...state.added].map((channel) => [channel.id, channel]));
  state.roles = new Map(said.roles.map((role) => [role.id, role]));
  const known = [said.bot, ...said.humans];
  // Nor is somebody who wrote meanwhile.
  const met = [...state.users.values()].filter((user) => !known.some((one) => one.id === user.id));
  known.forEach((user) => state.users.set(user.id, user));
  drawHumans([...said.humans, ...met.filter((user) => !user.bot && !user.system)]);
  if (!$("words").children.length) drawWords(said.words, () => drawer(false));
  drawChannels();
  const wanted = location.hash.slice(1);
  const first = sorted()[0];
  await enter(state.channels.has(wanted) ? wanted : (state.here ?? first?.id ?? null));
}

function listen() {
  const feed = new EventSource("/_emulator/events");
  feed.onopen = () => {
    live(true);
    load().catch((wrong) => note(wrong.message));
  };
  feed.onerror = () => live(false);
  feed.onmessage = (event) => {
    const { what, about } = JSON.parse(event.data);
    ({ added: channelAdded, updated: channelUpdated, removed: channelRemoved }[what] ?? heard)(about, what);
  };
}

function live(on) {
  $("live").dataset.state = on ? "on" : "off";
  $("live").textContent = on ? "live" : "reconnecting";
}

function channelAdded(channel) {
  state.added.push(channel);
  state.channels.set(channel.id, channel);
  drawChannels();
  if (state.begun === channel.id) enter(channel.id, true);
  else if (!state.here && channel.type !== CATEGORY) enter(channel.id);
}

function channelUpdated(channel) {
  state.channels.set(channel.id, channel);
  drawChannels();
  if (state.here === channel.id) drawPlace(channel);
}

function channelRemoved(channel) {
  state.channels.delete(channel.id);
  state.unread.delete(channel.id);
  drawChannels();
  if (state.here === channel.id) enter(sorted()[0]?.id ?? null);
}

function meet(user) {
  if (state.users.has(user.id)) return;
  state.users.set(user.id, user);
  if (!user.bot && !user.system) newcomer(user);
}

function heard(message, what) {
  [message.author, ...Object.values(message.reactors ?? {}).flat()].forEach(meet);
  if (message.channel_id !== state.here) {
    if (what === "created") state.unread.add(message.channel_id);
    return drawUnread();
  }
  if (state.early) return state.early.push([message, what]);
  const follow = atEnd();
  if (what === "deleted") byId(message.id)?.remove();
  else if (byId(message.id)) redraw(message);
  else place($("log"), draw(message, true));
  regroup($("log"));
  if (follow || !byId(message.id)) toEnd();
  else if (what === "created") $("newer").hidden = false;
  if (document.hidden && what === "created") state.unread.add(state.here);
  return drawUnread();
}

// ---- Channels

const sorted = () => inOrder(state.channels.values());

function drawChannels() {
  drawList($("channels"), sorted(), {
    category: (id) => state.channels.get(id)?.name ?? "Channels",
    open: (id) => enter(id, true),
  });
  drawUnread();
}

function drawUnread() {
  markList($("channels"), state.here, state.unread);
  const count = state.unread.size;
  $("open").querySelector(".dot").hidden = count === 0;
  $("open").setAttribute("aria-label", count ? `Channels, ${count} with unread messages` : "Channels");
  const name = state.channels.get(state.here)?.name;
  document.title = `${count ? `(${count}) ` : ""}${name ? `#${name} · ` : ""}${$("guild").textContent}`;
}

// The head of the column and the box below it.
function drawPlace(channel) {
  $("box").hidden = !takesMessages(channel);
  $("start").hidden = !takesThreads(channel);
  $("name").replaceChildren(...(channel ? [sign(channel), channel.name] : ["No channels yet"]));
  $("topic").textContent = channel?.topic ?? "";
  if (!channel) return;
  $("text").placeholder = `Message ${isThread(channel) ? channel.name : `#${channel.name}`}`;
  const parent = isThread(channel) && state.channels.get(channel.parent_id);
  if (!parent) return;
  const back = element("button", "link", `#${parent.name}`);
  back.type = "button";
  back.onclick = () => enter(parent.id, true);
  $("topic").replaceChildren("a thread in ", back, isArchived(channel) ? " · archived" : "");
}

async function enter(id, byHand = false) {
  state.here = id;
  state.early = state.begun = null;
  state.unread.delete(id);
  drawer(false);
  answerTo(null);
  drawUnread();
  const channel = state.channels.get(id);
  drawPlace(channel);
  if (!channel) {
    return $("log").replaceChildren(empty("Quiet in here", "Channels appear as soon as somebody makes one."));
  }
  history.replaceState(null, "", `#${id}`);
  // What the feed says while the history is on its way would be lost under it: it waits, and comes after.
  const early = (state.early = []);
  const messages = await ask(`/_emulator/messages/${id}`);
  if (state.early !== early) return undefined;
  state.early = null;
  quietly(() => $("log").replaceChildren(...messages.map((message) => draw(message))));
  regroup($("log"), takesMessages(channel) ? undefined : ["Posts only", "Each post is a thread in the list."]);
  toEnd();
  early.forEach(([message, what]) => heard(message, what));
  if (byHand && matchMedia("(hover: hover)").matches) $("text").focus();
  return undefined;
}

function step(by) {
  const order = sorted().map((channel) => channel.id);
  const next = order[(order.indexOf(state.here) + by + order.length) % order.length];
  if (next) enter(next, true);
}

// ---- Messages

const byId = (id) => document.getElementById(`m${id}`);

function names(kind, id) {
  if (kind === "#") return `#${state.channels.get(id)?.name ?? "unknown"}`;
  if (kind === "@&") return `@${state.roles.get(id)?.name.replace(/^@/, "") ?? "role"}`;
  const user = state.users.get(id);
  return `@${user ? shownName(user) : "unknown"}`;
}

function draw(message, fresh = false) {
  const made = drawMessage(message, {
    names, fresh, toggle, show,
    reply: (one) => {
      closeTools();
      answerTo(one, plain(one.content, names));
    },
    enter: (id) => state.channels.has(id) && enter(id, true),
    thread: takesThreads(state.channels.get(message.channel_id)) ? startThread : null,
  });
  markMine(made, writer());
  return made;
}

// A message that changed: what had the focus has it again.
function redraw(message) {
  const old = byId(message.id);
  const key = old.contains(document.activeElement) && document.activeElement.dataset.key;
  const made = draw(message);
  quietly(() => old.replaceWith(made));
  if (key) (made.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? $("log")).focus({ preventScroll: true });
}

// A screen reader hears what is new, and not again what it has heard.
function quietly(change) {
  $("log").setAttribute("aria-live", "off");
  change();
  requestAnimationFrame(() => $("log").setAttribute("aria-live", "polite"));
}

function toggle(message, emoji) {
  const body = { channel: message.channel_id, message: message.id, author: writer(), emoji };
  tell("/_emulator/react", body).then(() => note(), (wrong) => note(wrong.message));
}

async function show(message) {
  if (message.channel_id !== state.here) await enter(message.channel_id);
  byId(message.id)?.scrollIntoView({ block: "center" });
}

function startThread(message = null) {
  const words = message ? plain(message.content, names).slice(0, 40) : "";
  const hint = message ? "What is written about this message stays together." : "A conversation of its own.";
  askName({ title: "Start a thread", hint, button: "Start", value: words }, async (name) => {
    const body = { channel: state.here, message: message?.id, author: writer(), name };
    const { id } = await tell("/_emulator/thread", body);
    state.begun = id;
    if (state.channels.has(id)) enter(id, true);
  });
}

const atEnd = (near = NEAR) => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < near;

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
}

// ---- The page around

function drawer(open) {
  $("side").classList.toggle("open", open);
  $("open").setAttribute("aria-expanded", String(open));
  if (open) $("channels").querySelector("[aria-current]")?.focus();
}

openBox({ here: () => state.here, ask, after: toEnd });
walkList($("channels"));
document.addEventListener("writer", () => markMine($("log"), writer()));
$("start").onclick = () => startThread();
$("newer").onclick = toEnd;
$("log").onscroll = () => atEnd() && ($("newer").hidden = true);
$("log").addEventListener("grown", (event) => atEnd(NEAR + event.detail) && toEnd());
$("open").onclick = () => drawer(true);
$("close").onclick = () => {
  drawer(false);
  $("open").focus();
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if ($("side").classList.contains("open")) $("close").click();
    else answerTo(null);
  }
  if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  }
});
document.addEventListener("pointerdown", (event) => {
  if ($("side").classList.contains("open") && !event.target.closest("#side")) drawer(false);
  if (!event.target.closest(".tools")) closeTools();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && state.unread.delete(state.here)) drawUnread();
});
addEventListener("hashchange", () => {
  const wanted = location.hash.slice(1);
  if (wanted !== state.here && state.channels.has(wanted)) enter(wanted);
});
listen();
