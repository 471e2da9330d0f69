// Text from outside (names in files, what a model said) made fit for a terminal and for a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace leash {

// At most `most` characters of `text`, "…" behind what was cut. Nothing in it moves a cursor,
// colours a line or turns the reading direction: control characters (C0, DEL, C1), line and
// paragraph separators and directional marks stand as \n, \t, \x1b or \u202e, bytes that are no
// UTF-8 as \xff.
std::string printable(std::string_view text, size_t most = 80);

// The same for a message of several lines: line breaks stay, each line has at most `most`
// characters. What is shown on a console goes through it, whoever wrote its parts.
std::string printable_lines(std::string_view text, size_t most = 4000);

}  // namespace leash
