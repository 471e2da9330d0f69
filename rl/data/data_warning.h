// What the user should know of data that is read all the same.
#pragma once

#include <string_view>

namespace leash {

// "leash: warning: …" on standard error, from the first of a run's processes alone.
void data_warning(std::string_view text);

}  // namespace leash
