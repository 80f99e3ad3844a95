// The chat page: one state object, drawn from what the emulator's feed says. No framework, no storage.

import { CATEGORY, channelButton, inOrder, isThread, sign } from "/channels.js";
import { empty, place, regroup } from "/log.js";
import { element, plain } from "/markup.js";
import { drawMessage, shownName, size } from "/message.js";

const NEAR = 120; // pixels from the end within which the log follows new messages

const $ = (id) => document.getElementById(id);
const state = {
  channels: new Map(), users: new Map(), roles: new Map(), // by id
  unread: new Set(), // ids of channels
  here: null, // id of the channel that is shown
  reply: null, // id of the message that the box answers
  early: null, // what the feed said while a history is on its way
  added: [], // channels that the feed told of since the state was last asked for
};

// ---- The emulator's side

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(flat(body));
  return body;
}

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
  [said.bot, ...said.humans].forEach((user) => state.users.set(user.id, user));
  drawHumans(said.humans);
  if (!$("words").children.length) drawWords(said.words);
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
    ({ added: channelAdded, removed: channelRemoved }[what] ?? heard)(about, what);
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
  if (!state.here && channel.type !== CATEGORY) enter(channel.id);
}

function channelRemoved(channel) {
  state.channels.delete(channel.id);
  state.unread.delete(channel.id);
  drawChannels();
  if (state.here === channel.id) enter(sorted()[0]?.id ?? null);
}

function heard(message, what) {
  if (!message.author.bot && !state.users.has(message.author.id)) newcomer(message.author);
  if (message.channel_id !== state.here) {
    if (what === "created") state.unread.add(message.channel_id);
    return drawUnread();
  }
  if (state.early) return state.early.push([message, what]);
  const follow = atEnd();
  if (what === "deleted") byId(message.id)?.remove();
  else if (byId(message.id)) byId(message.id).replaceWith(draw(message));
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
  const focused = document.activeElement?.closest("#channels button")?.dataset.id;
  const parts = [];
  let category = null;
  let list = element("ul");
  for (const channel of sorted()) {
    const thread = isThread(channel);
    if (!thread && channel.parent_id !== category) {
      parts.push(list, element("h2", "", state.channels.get(channel.parent_id)?.name ?? "Channels"));
      list = element("ul");
      category = channel.parent_id;
    }
    list.append(element("li", thread ? "thread" : "", channelButton(channel, () => enter(channel.id, true))));
  }
  $("channels").replaceChildren(...parts, list);
  drawUnread();
  if (focused) $("channels").querySelector(`[data-id="${focused}"]`)?.focus();
}

function drawUnread() {
  for (const button of $("channels").querySelectorAll("button")) {
    const unread = state.unread.has(button.dataset.id);
    button.parentElement.classList.toggle("unread", unread);
    button.querySelector(".dot")?.remove();
    button.querySelector(".sr")?.remove();
    if (unread) button.append(element("span", "dot"), element("span", "sr", "unread"));
    if (button.dataset.id === state.here) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  const count = state.unread.size;
  $("open").querySelector(".dot").hidden = count === 0;
  $("open").setAttribute("aria-label", count ? `Channels, ${count} with unread messages` : "Channels");
  const name = state.channels.get(state.here)?.name;
  document.title = `${count ? `(${count}) ` : ""}${name ? `#${name} · ` : ""}${$("guild").textContent}`;
}

async function enter(id, byHand = false) {
  state.here = id;
  state.early = null;
  state.unread.delete(id);
  drawer(false);
  answerTo(null);
  drawUnread();
  const channel = state.channels.get(id);
  $("box").hidden = !channel;
  if (!channel) {
    $("name").textContent = "No channels yet";
    return $("log").replaceChildren(empty("Quiet in here", "Channels appear as soon as somebody makes one."));
  }
  history.replaceState(null, "", `#${id}`);
  $("name").replaceChildren(sign(channel), channel.name);
  $("topic").textContent = channel.topic ?? "";
  $("text").placeholder = `Message #${channel.name}`;
  // What the feed says while the history is on its way would be lost under it: it waits, and comes after.
  const early = (state.early = []);
  const messages = await ask(`/_emulator/messages/${id}`);
  if (state.early !== early) return undefined;
  state.early = null;
  // A screen reader hears what comes from now on, not the whole channel again.
  $("log").setAttribute("aria-live", "off");
  $("log").replaceChildren(...messages.map((message) => draw(message)));
  regroup($("log"));
  toEnd();
  requestAnimationFrame(() => $("log").setAttribute("aria-live", "polite"));
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

const draw = (message, fresh = false) => drawMessage(message, { names, reply: answerTo, fresh });

const atEnd = (near = NEAR) => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < near;

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
}

// ---- The box

function newcomer(human) {
  state.users.set(human.id, human);
  if (!human.system) $("human").append(new Option(shownName(human), human.username));
}

function drawHumans(humans) {
  const chosen = $("human").value;
  $("human").replaceChildren(...humans.map((human) => new Option(shownName(human), human.username)));
  if (humans.some((human) => human.username === chosen)) $("human").value = chosen;
}

function drawWords(words) {
  for (const { word, meaning } of words) {
    const button = element("button", "", element("code", "", word), element("span", "", meaning));
    button.type = "button";
    button.onclick = () => {
      $("text").value = word;
      drawer(false);
      $("text").focus();
    };
    $("words").append(element("li", "", button));
  }
}

function answerTo(message) {
  state.reply = message?.id ?? null;
  $("answering").hidden = !message;
  if (!message) return;
  const text = plain(message.content, names);
  $("answering").querySelector("span").textContent = `Replying to ${shownName(message.author)}: ${text}`;
  $("text").focus();
}

function note(text = "") {
  $("note").textContent = text;
  $("note").hidden = !text;
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = `${Math.min($("text").scrollHeight, 200)}px`;
}

function attach() {
  const chosen = $("file").files[0];
  $("attached").hidden = !chosen;
  $("attached").querySelector("span").textContent = chosen ? `${chosen.name} · ${size(chosen.size)}` : "";
  $("text").focus();
}

async function say(event) {
  event.preventDefault();
  const chosen = $("file").files[0];
  const text = $("text").value.trim();
  if (!text && !chosen) return;
  const body = new FormData();
  const said = { channel: state.here, author: $("human").value, text, reply_to: state.reply };
  body.append("payload_json", JSON.stringify(said));
  if (chosen) body.append("files[0]", chosen, chosen.name);
  try {
    const answer = await ask("/_emulator/say", { method: "POST", body });
    note(answer.armed ? `Armed: the bot’s next message here meets ${answer.armed}` : "");
    $("text").value = "";
    $("file").value = "";
    attach();
    answerTo(null);
    grow();
    toEnd();
  } catch (wrong) {
    note(wrong.message);
  }
}

function drawer(open) {
  $("side").classList.toggle("open", open);
  $("open").setAttribute("aria-expanded", String(open));
  if (open) $("channels").querySelector("[aria-current]")?.focus();
}

$("box").onsubmit = say;
$("text").oninput = grow;
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
};
$("file").onchange = attach;
$("answering").querySelector("button").onclick = () => answerTo(null);
$("attached").querySelector("button").onclick = () => {
  $("file").value = "";
  attach();
};
$("newer").onclick = toEnd;
$("log").onscroll = () => atEnd() && ($("newer").hidden = true);
$("log").addEventListener("grown", (event) => atEnd(NEAR + event.detail) && toEnd());
$("open").onclick = () => drawer(true);
$("close").onclick = () => {
  drawer(false);
  $("open").focus();
};
$("channels").onkeydown = (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || event.altKey) return;
  event.preventDefault();
  const all = [...$("channels").querySelectorAll("button")];
  all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
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
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && state.unread.delete(state.here)) drawUnread();
});
addEventListener("hashchange", () => {
  const wanted = location.hash.slice(1);
  if (wanted !== state.here && state.channels.has(wanted)) enter(wanted);
});
listen();
