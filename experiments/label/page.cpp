#include "experiments/label/page.h"

#include <string_view>

#include "experiments/label/page_parts.h"

namespace leash::label {
namespace {

// Text from models and data arrives as JSON and is put into it by textContent alone.
constexpr std::string_view kBody = R"HTML(
<header>
  <h1>leash label</h1>
  <p id="who"></p>
  <div class="progress">
    <progress id="bar" max="1" value="0" aria-label="Progress"></progress>
    <span id="count"></span>
  </div>
</header>
<main>
  <p id="status" role="status" aria-live="polite"></p>
  <p id="alert" role="alert"></p>
  <div id="task" hidden>
    <section aria-labelledby="title">
      <h2 id="title" tabindex="-1">Prompt</h2>
      <div id="prompt"></div>
    </section>
    <div class="answers">
      <article aria-labelledby="left-title">
        <h2 id="left-title">Left answer</h2>
        <div id="left" class="text" dir="auto"></div>
        <p id="left-cut" class="muted" hidden>Cut off at its greatest length.</p>
      </article>
      <article aria-labelledby="right-title">
        <h2 id="right-title">Right answer</h2>
        <div id="right" class="text" dir="auto"></div>
        <p id="right-cut" class="muted" hidden>Cut off at its greatest length.</p>
      </article>
    </div>
    <div class="comment">
      <label for="comment">Comment (optional)</label>
      <textarea id="comment" rows="2" maxlength="1000"></textarea>
    </div>
  </div>
  <section id="end" aria-labelledby="end-title" hidden>
    <h2 id="end-title" tabindex="-1">All pairs are judged</h2>
    <p>Everything is saved. Undo still works; Finish tells the server that you are done.</p>
    <button type="button" id="finish">Finish</button>
  </section>
  <div id="choices" role="group" aria-label="Your judgement" hidden>
    <button type="button" data-verdict="left" aria-keyshortcuts="ArrowLeft 1"><span aria-hidden="true">← </span>Left is better</button>
    <button type="button" data-verdict="right" aria-keyshortcuts="ArrowRight 2">Right is better<span aria-hidden="true"> →</span></button>
    <button type="button" data-verdict="tie" aria-keyshortcuts="T 3">Tie</button>
    <button type="button" data-verdict="both_bad" aria-keyshortcuts="B 4">Both bad</button>
    <button type="button" data-verdict="skip" aria-keyshortcuts="S">Skip</button>
  </div>
  <button type="button" id="undo" aria-keyshortcuts="U" disabled>Undo</button>
  <details id="keys-help">
    <summary>Keys</summary>
    <p><label><input type="checkbox" id="keys" checked> Single keys judge</label></p>
    <dl>
      <div><dt><kbd>←</kbd> or <kbd>1</kbd></dt><dd>left is better</dd></div>
      <div><dt><kbd>→</kbd> or <kbd>2</kbd></dt><dd>right is better</dd></div>
      <div><dt><kbd>T</kbd> or <kbd>3</kbd></dt><dd>tie</dd></div>
      <div><dt><kbd>B</kbd> or <kbd>4</kbd></dt><dd>both bad</dd></div>
      <div><dt><kbd>S</kbd></dt><dd>skip</dd></div>
      <div><dt><kbd>U</kbd></dt><dd>undo</dd></div>
      <div><dt><kbd>C</kbd></dt><dd>write a comment; <kbd>Esc</kbd> leaves it</dd></div>
    </dl>
  </details>
  <details id="standing">
    <summary>How it stands</summary>
    <div id="statistics"></div>
  </details>
</main>
<noscript>This page needs JavaScript. `leash label --terminal` does the same without a browser.</noscript>
)HTML";

std::string element(std::string_view name, const std::string& nonce, std::string_view content) {
  std::string text = "<";
  text += name;
  text += " nonce=\"" + nonce + "\">\n";
  text += content;
  text += "</";
  text += name;
  return text + ">\n";
}

}  // namespace

std::string page_html(const std::string& nonce) {
  std::string page =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>leash label</title>\n"
      "<link rel=\"icon\" href=\"data:,\">\n";
  page += element("style", nonce, kPageStyle);
  page += "</head>\n<body>";
  page += kBody;
  page += element("script", nonce, kPageScript);
  return page + "</body>\n</html>\n";
}

}  // namespace leash::label
