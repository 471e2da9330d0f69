// What the user should know about a file although nothing is wrong with it.
#pragma once

#include <functional>
#include <string>

namespace leash {

// Hands the text on, once per process however often it is said: to standard error unless
// `send_notices` named another place. From any thread.
void notice_once(const std::string& text);

// Where notices go from now on (an empty function: to standard error). What was said before may be
// said again.
void send_notices(std::function<void(const std::string&)> receiver);

}  // namespace leash
