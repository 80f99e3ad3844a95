// Findings, failed entries with their button, and messages each way.

import { ago, element, find, keep, say } from "./parts.js";

export function drawFindings(list, picture) {
  const said = picture.findings.map((sentence) => ({ sentence, ill: false }));
  if (!picture.well) said.unshift({ sentence: sentence(picture.why), ill: true });
  keep(list, said, (each) => each.sentence, (each) => element("li", each.ill ? "ill" : "", element("span", "", each.sentence)), () => {});
}

export function drawFailures(list, picture, retry, may) {
  const more = picture.failed - picture.failures.length;
  say(find("#failures-more span"), `and ${more.toLocaleString("en")} older: `);
  find("#failures-more").hidden = more <= 0;
  keep(list, picture.failures, (each) => `${each.channel}/${each.file}`, (each) => makeFailure(each, retry), (item, each) => {
    say(find(".where", item), each.channel ? ` in #${each.channel}, ${ago(each.at, picture.at)}` : `, ${ago(each.at, picture.at)}`);
    find("button", item).hidden = !may || !each.channel;
  });
}

function makeFailure(each, retry) {
  const name = each.name || each.id;
  const what = element("div", "what", element("b", "", name), element("span", "where"), element("p", "reason", each.reason));
  if (each.hint) what.append(element("p", "hint", sentence(each.hint)));
  const button = element("button", "", "Retry");
  button.type = "button";
  button.setAttribute("aria-label", `Retry ${name} in ${each.channel}`);
  button.addEventListener("click", () => retry(each, button));
  return element("li", "", what, button);
}

export function drawMessages(list, messages, now) {
  keep(list, messages, (each) => `${each.channel}/${each.id}`, makeMessage, (item, each) => say(find("time", item), ago(each.at, now)));
}

function makeMessage(each) {
  const head = element("p", "head");
  if (each.who) head.append(element("b", "", each.who));
  head.append(element("span", "", `#${each.channel}`), element("time", ""));
  const text = element("p", "text", each.text);
  text.dir = "auto";
  return element("li", "", head, text);
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
