// What the page and other clients get to see, as JSON.
#pragma once

#include "experiments/label/session.h"

namespace leash::label {

// {"offer": "pair" | "waiting" | "done" | "failed", "pair": {"id", "prompt": [{"role", "text"}, …],
// "left", "right", "left_cut", "right_cut", "comment"} or null, "failure", "user", "can_undo",
// "progress": {"judged", "skipped", "left", "total"}}. Of a prompt that is a text the role is null.
Json view_json(const View& view, const std::string& user);

}  // namespace leash::label
