// Addresses that may be asked.
#pragma once

#include <string>

namespace leash {

// What is wrong with an address; empty where nothing is: it has to be http or https with a host and
// without a password. With `secret` http is for this machine alone.
std::string url_problem(const std::string& url, bool secret);

// Whether it is localhost, 127.x.y.z or [::1].
bool is_on_this_machine(const std::string& url);

// Once a process, before curl does anything else.
void begin_curl();

}  // namespace leash
