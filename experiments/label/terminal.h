// Labelling on a terminal, for sessions over SSH.
#pragma once

#include <iosfwd>
#include <string>

#include "experiments/label/session.h"
#include "rl/data/line_reader.h"

namespace leash::label {

// Shows pairs on `out` and reads a line for each from `in`: l, r, t, b, s, u (undo), c TEXT (a
// comment), ? (how it stands), q. Until there is nothing left, `in` ends, or q. `seed` draws the
// intervals of ?.
void label_on_terminal(LabelSession& session, const std::string& user, LineReader& in,
                       std::ostream& out, uint64_t seed);

}  // namespace leash::label
