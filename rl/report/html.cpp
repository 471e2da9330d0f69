// The frame of our offline HTML pages.
#include "rl/report/html.h"

#include <fmt/core.h>

#include <cstddef>

namespace leash {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Length of the UTF-8 sequence at the start of `text`, or 0 when it is not well-formed (Unicode
// 15, table 3-7).
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

std::string_view escaped_ascii(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    case '\n':
    case '\t':
      return {};
    default:
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? kReplacement : std::string_view{};
  }
}

constexpr std::string_view kPageCss = R"css(
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #ffffff; --ink: #1b2330; --muted: #667085;
  --line: #e3e6eb; --accent: #2563eb; --soft: #eef3fe; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #0f141b; --card: #171e28; --ink: #e6eaf0; --muted: #93a0b4; --line: #2a3442;
    --accent: #6ea8fe; --soft: #1b2738; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 12px; }
.muted { color: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px;
  margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; }
.card b { display: block; font-size: 21px; font-weight: 650; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--muted); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr));
  gap: 14px; }
table { width: 100%; border-collapse: collapse; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; overflow: hidden; font-size: 14px; }
th { text-align: left; font-weight: 600; font-size: 13px; color: var(--muted); }
th, td { padding: 9px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > td { border-bottom: 0; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
details > summary { cursor: pointer; color: var(--muted); }
pre, code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; overflow-x: auto; }
.chart { display: block; width: 100%; height: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px;
  --c0: #2563eb; --c1: #d97706; --c2: #059669; --c3: #db2777; --c4: #7c3aed; --c5: #0891b2; }
@media (prefers-color-scheme: dark) {
  .chart { --c0: #6ea8fe; --c1: #fbbf24; --c2: #34d399; --c3: #f472b6; --c4: #a78bfa;
    --c5: #22d3ee; }
}
.chart .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.chart .last { font-size: 14px; font-weight: 600; fill: var(--c0); }
.chart .tick { font-size: 11px; fill: var(--muted); font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--line); stroke-width: 1; fill: none; }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart .faint { opacity: 0.3; stroke-width: 1.2; }
.chart .band { stroke: none; opacity: 0.16; }
.chart .dot { opacity: 0; }
.chart .dot:hover, .chart .alone { opacity: 1; }
.chart .line.c0 { stroke: var(--c0); } .chart :is(.band, .dot).c0 { fill: var(--c0); }
.chart .line.c1 { stroke: var(--c1); } .chart :is(.band, .dot).c1 { fill: var(--c1); }
.chart .line.c2 { stroke: var(--c2); } .chart :is(.band, .dot).c2 { fill: var(--c2); }
.chart .line.c3 { stroke: var(--c3); } .chart :is(.band, .dot).c3 { fill: var(--c3); }
.chart .line.c4 { stroke: var(--c4); } .chart :is(.band, .dot).c4 { fill: var(--c4); }
.chart .line.c5 { stroke: var(--c5); } .chart :is(.band, .dot).c5 { fill: var(--c5); }
)css";

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    const std::string_view ascii = length == 1 ? escaped_ascii(text[0]) : std::string_view{};
    if (length == 0) {
      out += kReplacement;
    } else {
      out += ascii.empty() ? text.substr(0, length) : ascii;
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view body, std::string_view css) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title>\n<style>{1}{2}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n"
      "{3}\n</main>\n</body>\n</html>\n",
      html_escape(title), kPageCss, css, body);
}

}  // namespace leash
