// Files that people have where JSON lines are asked for.
#pragma once

#include <string_view>

namespace leash {

// Which other format a file begins as, and how to make JSON lines of it ("is compressed with gzip:
// …"); empty where nothing speaks against JSON lines.
std::string_view foreign_format(std::string_view head);

}  // namespace leash
