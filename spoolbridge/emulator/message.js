// One message as DOM nodes: who, when, what it answers, its files, reactions and thread. Knows nothing of the
// page: what its buttons do comes with it.

import { file } from "/files.js";
import { element, icon, markup, plain } from "/markup.js";
import { closePicker, openPicker, reactions } from "/reactions.js";

const REPLY = 19;
const THREAD_CREATED = 18;
const THREAD_STARTER = 21;
const WRITTEN = [0, REPLY, 20, 23]; // types that somebody wrote; everything else is Discord's own
const MINUTES = { hour: "2-digit", minute: "2-digit" };
const DOTS = "M5 12v.01M12 12v.01M19 12v.01";
const SMILE = "M12.5 3.5a8.5 8.5 0 1 0 8 8M8.5 14a4.4 4.4 0 0 0 7 0M9 9.5v.01M15 9.5v.01M18.5 2.5v6M15.5 5.5h6";
const TURN = "M10 7 5 12l5 5M5.5 12H14a5 5 0 0 1 5 5v1"; // an arrow that turns back
const BRANCH = "M6 4v9a4 4 0 0 0 4 4h8M14.5 13.5 18 17l-3.5 3.5";

export const shownName = (user) => user.global_name ?? user.username;

// names(sign, id) gives the text of a mention. Called by buttons: reply(message), toggle(message, emoji),
// enter(channel id), show(message); thread(message) is null where no thread can be started.
export function drawMessage(message, { fresh = false, ...acts }) {
  const about = message.type === REPLY || message.type === THREAD_STARTER;
  const made = element("article", `message${fresh ? " fresh" : ""}${about ? " reply" : ""}`);
  made.id = `m${message.id}`;
  made.dataset.author = message.author.id;
  made.dataset.name = shownName(message.author);
  made.dataset.at = String(Date.parse(message.timestamp));
  made.append(face(message.author), time(message, "time", { ...MINUTES, hourCycle: "h23" }));
  if (about) made.append(quote(message, acts));
  made.append(header(message), content(message, acts));
  made.append(...message.attachments.map(file));
  const toggle = (emoji) => acts.toggle(message, emoji);
  if (message.reactions?.length) made.append(reactions(message, { toggle, shownName }));
  if (message.thread) made.append(begun(message.thread, acts.enter));
  made.append(tools(message, acts, toggle));
  return made;
}

function face(user) {
  const hue = [...user.username].reduce((sum, one) => (sum * 31 + one.codePointAt(0)) >>> 0, 7) % 8;
  const initial = [...shownName(user)][0]?.toUpperCase() ?? "?";
  const made = element("div", `face hue${hue}${user.bot ? " bot" : ""}`, initial);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function time(message, name, format) {
  const made = element("time", name, new Date(message.timestamp).toLocaleTimeString([], format));
  made.dateTime = message.timestamp;
  made.title = new Date(message.timestamp).toLocaleString();
  return made;
}

function header(message) {
  const made = element("div", "who", element("b", "", shownName(message.author)));
  if (message.author.bot) made.append(element("span", "badge", message.webhook_id ? "WEBHOOK" : "BOT"));
  made.append(time(message, "", MINUTES));
  return made;
}

function content(message, { names, enter }) {
  if (message.type === THREAD_CREATED) {
    const name = element("button", "link", message.content);
    name.type = "button";
    name.onclick = () => enter(message.message_reference.channel_id);
    return element("p", "system", "started the thread ", name);
  }
  if (message.type === THREAD_STARTER) return element("p", "system", "began this thread");
  const stickers = (message.sticker_items ?? []).map((one) => `[sticker: ${one.name}]`);
  const text = message.content || stickers.join(" ");
  const made = markup(text, names);
  if (message.edited_timestamp) made.append(element("span", "edited", "(edited)"));
  made.hidden = !text && !message.edited_timestamp;
  return made;
}

function quote(message, { names, show }) {
  const original = message.referenced_message;
  if (!original) return element("div", "quote", element("span", "", "The original message was deleted"));
  const text = plain(original.content, names) || "a file";
  const author = element("b", "", shownName(original.author));
  const made = element("button", "quote", author, element("span", "", text));
  made.type = "button";
  const how = message.type === REPLY ? "In reply to" : "Began with";
  made.setAttribute("aria-label", `${how} ${shownName(original.author)}: ${text.slice(0, 80)}`);
  made.onclick = () => show(original);
  return made;
}

function begun(thread, enter) {
  const count = thread.message_count;
  const so = count ? `${count} message${count === 1 ? "" : "s"}` : "No messages yet";
  const made = element("button", "begun", icon(BRANCH), element("b", "", thread.name), element("span", "", so));
  made.type = "button";
  made.setAttribute("aria-label", `Open the thread ${thread.name}, ${so}`);
  made.onclick = () => enter(thread.id);
  return made;
}

// On a desk the bar appears under the pointer; a touch has a button for it.
function tools(message, { reply, thread }, toggle) {
  const name = shownName(message.author);
  const smile = tool("react", SMILE, "React", `React to ${name}`, () => openPicker(smile, toggle));
  smile.setAttribute("aria-expanded", "false");
  const bar = element("div", "bar", smile);
  const written = WRITTEN.includes(message.type);
  if (written) bar.append(tool("reply", TURN, "Reply", `Reply to ${name}`, () => reply(message)));
  if (written && thread && !message.thread) {
    bar.append(tool("thread", BRANCH, "Thread", `Start a thread from ${name}’s message`, () => thread(message)));
  }
  const made = element("div", "tools");
  const more = tool("more", DOTS, "", `What to do with ${name}’s message`, () => {
    more.setAttribute("aria-expanded", String(made.classList.toggle("open")));
  });
  more.className = "more";
  more.setAttribute("aria-expanded", "false");
  made.append(bar, more);
  return made;
}

// What a touch has opened.
export function closeTools() {
  closePicker();
  for (const open of document.querySelectorAll(".tools.open")) {
    open.classList.remove("open");
    open.querySelector(".more").setAttribute("aria-expanded", "false");
  }
}

function tool(key, drawing, word, label, act) {
  const made = element("button", "", icon(drawing), element("span", "", word));
  made.type = "button";
  made.dataset.key = key;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.onclick = act;
  return made;
}
