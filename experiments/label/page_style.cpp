#include "experiments/label/page_parts.h"

namespace leash::label {

// Colours keep a contrast of at least 4.5 : 1 for text and 3 : 1 for borders of controls, light and
// dark (WCAG 2.2).
const std::string_view kPageStyle = R"CSS(
:root {
  color-scheme: light dark;
  --back: #f6f7f9; --card: #ffffff; --text: #1b1f24; --muted: #57606a; --line: #c9d1d9;
  --control: #6e7781; --accent: #0a58ca; --on-accent: #ffffff; --alert: #a40e26;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161c; --card: #1b2129; --text: #e6edf3; --muted: #9da7b3; --line: #39424e;
    --control: #7d8894; --accent: #79b8ff; --on-accent: #0b1420; --alert: #ff9492;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
header, main { max-width: 76rem; margin: 0 auto; padding: .75rem 1rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1.25rem; }
h1 { font-size: 1.1rem; margin: 0; }
h2 { font-size: .95rem; margin: 0 0 .4rem; color: var(--muted); font-weight: 600; }
#who, #count, .muted { color: var(--muted); margin: 0; }
.progress { margin-left: auto; display: flex; align-items: center; gap: .6rem; }
progress { width: 10rem; height: .7rem; accent-color: var(--accent); }
#status { min-height: 1.5em; margin: 0 0 .5rem; color: var(--muted); }
#alert { margin: 0 0 .5rem; color: var(--alert); font-weight: 600; }
#alert:empty { display: none; }
section, article, #statistics, dl { min-width: 0; }
section, article {
  background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem 1rem; margin: 0 0 .75rem;
}
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; tab-size: 4; }
.message + .message { margin-top: .6rem; }
.role { color: var(--muted); font-size: .85rem; margin: 0; }
.answers { display: grid; grid-template-columns: 1fr 1fr; gap: 0 .75rem; }
.comment { margin: 0 0 .75rem; }
label { display: inline-block; }
textarea {
  display: block; width: 100%; font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--control); border-radius: .4rem; padding: .4rem .6rem; resize: vertical;
}
#choices {
  position: sticky; bottom: 0; display: grid; grid-template-columns: repeat(5, 1fr); gap: .5rem;
  background: var(--back); padding: .6rem 0; z-index: 1;
}
button {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--control);
  border-radius: .4rem; padding: .6rem .5rem; min-height: 2.75rem; cursor: pointer;
}
button[data-verdict=left], button[data-verdict=right], #finish {
  background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600;
}
button:disabled { opacity: .5; cursor: default; }
#choices[aria-busy=true] button { opacity: .6; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
h2:focus { outline: none; }
h2:focus-visible { outline: 2px solid var(--accent); }
#undo { margin: 0 0 .75rem; padding: .4rem 1rem; }
details { margin: .25rem 0; }
summary { cursor: pointer; padding: .35rem 0; }
dl { margin: 0; }
dl div { display: flex; gap: .75rem; }
dt { min-width: 6rem; }
dd { margin: 0; }
kbd { border: 1px solid var(--control); border-radius: .25rem; padding: 0 .35rem; font: inherit; font-size: .85rem; }
#statistics { overflow-x: auto; }
table { border-collapse: collapse; }
caption { text-align: left; color: var(--muted); padding: .3rem 0; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
@media (max-width: 42rem) {
  header, main { padding: .5rem .75rem; }
  .progress { margin-left: 0; width: 100%; }
  progress { flex: 1; width: auto; }
  .answers { grid-template-columns: 1fr; }
  #choices { grid-template-columns: repeat(6, 1fr); }
  #choices button { grid-column: span 2; }
  #choices button[data-verdict=left], #choices button[data-verdict=right] { grid-column: span 3; }
}
)CSS";

}  // namespace leash::label
