// Fields of config.json that change no number here.
#pragma once

#include "models/json_fields.h"

namespace leash {

// Names, in one notice, the fields that nobody asked for and that are not known to be harmless.
void tell_of_ignored_fields(const JsonFields& json);

}  // namespace leash
