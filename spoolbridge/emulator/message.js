// One message as DOM nodes: who, when, what it answers, its files and reactions. Knows nothing of the page.

import { element, markup, plain } from "/markup.js";

const REPLY = 19;
const THREAD_CREATED = 18;
const THREAD_STARTER = 21;
const MINUTES = { hour: "2-digit", minute: "2-digit" };
const ANSWER = "M10 7 5 12l5 5M5.5 12H14a5 5 0 0 1 5 5v1"; // the drawing of an arrow that turns back

export const shownName = (user) => user.global_name ?? user.username;

// One message. names(sign, id) gives the text of a mention, reply(message) is called by its button.
export function drawMessage(message, { names, reply, fresh = false }) {
  const made = element("article", `message${fresh ? " fresh" : ""}${message.type === REPLY ? " reply" : ""}`);
  made.id = `m${message.id}`;
  made.dataset.author = message.author.id;
  made.dataset.name = shownName(message.author);
  made.dataset.at = String(Date.parse(message.timestamp));
  made.append(face(message.author), time(message, "time", { ...MINUTES, hourCycle: "h23" }));
  if (message.type === REPLY) made.append(quote(message, names));
  made.append(header(message), content(message, names));
  made.append(...message.attachments.map(file));
  if (message.reactions?.length) made.append(reactions(message.reactions));
  made.append(tools(message, reply));
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

function content(message, names) {
  if (message.type === THREAD_CREATED) {
    return element("p", "system", "started the thread ", element("b", "", message.content));
  }
  if (message.type === THREAD_STARTER) return element("p", "system", "began this thread from a message");
  const stickers = (message.sticker_items ?? []).map((one) => `[sticker: ${one.name}]`);
  const text = message.content || stickers.join(" ");
  const made = markup(text, names);
  if (message.edited_timestamp) made.append(element("span", "edited", "(edited)"));
  made.hidden = !text && !message.edited_timestamp;
  return made;
}

function quote(message, names) {
  const original = message.referenced_message;
  if (!original) return element("div", "quote", element("span", "", "The original message was deleted"));
  const text = plain(original.content, names) || "a file";
  const author = element("b", "", shownName(original.author));
  const made = element("button", "quote", author, element("span", "", text));
  made.type = "button";
  made.setAttribute("aria-label", `In reply to ${shownName(original.author)}: ${text.slice(0, 80)}`);
  made.onclick = () => document.getElementById(`m${original.id}`)?.scrollIntoView({ block: "center" });
  return made;
}

function file(attachment) {
  const address = new URL(attachment.url);
  const made = element("a");
  made.href = address.pathname + address.search;
  made.target = "_blank";
  made.rel = "noopener";
  if (/^image\/(png|jpe?g|gif|webp|avif)$/.test(attachment.content_type ?? "")) {
    const image = element("img");
    image.src = made.href;
    image.alt = attachment.description ?? attachment.filename;
    image.onload = () => {
      image.dispatchEvent(new CustomEvent("grown", { bubbles: true, detail: image.clientHeight }));
    };
    made.className = "picture";
    made.append(image);
    return made;
  }
  made.className = "file";
  made.append(icon("M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5"));
  const length = element("span", "", size(attachment.size));
  made.append(element("div", "", element("b", "", attachment.filename), length));
  return made;
}

function icon(path) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  made.append(line);
  return made;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

function reactions(list) {
  const made = element("ul", "reactions");
  made.setAttribute("aria-label", "Reactions");
  for (const one of list) {
    const emoji = element("span", "", one.emoji.name);
    made.append(element("li", one.me ? "mine" : "", emoji, element("span", "", `${one.count}`)));
  }
  return made;
}

function tools(message, reply) {
  const button = element("button", "", icon(ANSWER), element("span", "", "Reply"));
  button.type = "button";
  button.setAttribute("aria-label", `Reply to ${shownName(message.author)}`);
  button.onclick = () => reply(message);
  return element("div", "tools", button);
}
