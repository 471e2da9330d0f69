// The frame of our offline HTML pages. Everything that comes from a model or a file passes through
// html_escape.
#pragma once

#include <string>
#include <string_view>

namespace leash {

// &, <, >, " and ' replaced; control characters other than newline and tab shown as U+FFFD, and so
// are bytes that are not UTF-8.
std::string html_escape(std::string_view text);

// A whole page that may load nothing and run no script (by its own Content-Security-Policy): head,
// style for light and dark screens (charts included), <h1> and `body`, which is HTML already. `css`
// is added at the end of the style. Classes that the style knows: .charts (a grid of charts),
// .cards with .card (a figure each: <div class=card><b>1.5</b><span>reward
// </span></div>), table, .text (keeps line breaks), .muted, .num (right-aligned column).
std::string html_page(std::string_view title, std::string_view body, std::string_view css = {});

}  // namespace leash
