#include "experiments/label/terminal.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <ostream>
#include <string_view>
#include <system_error>

#include "experiments/label/summary.h"
#include "models/errors.h"
#include "models/printable.h"

namespace leash::label {
namespace {

constexpr std::string_view kHelp =
    "[l]eft  [r]ight  [t]ie  [b]oth bad  [s]kip  [u]ndo  c TEXT: comment  ?: how it stands  "
    "[q]uit\n";

// Text of a model as a terminal may show it: line breaks and tabs kept, all else that a terminal
// would obey escaped.
std::string safe(std::string_view text) {
  std::string shown;
  for (const char c : text) shown += c == '\t' ? std::string("    ") : std::string(1, c);
  return printable_lines(shown, shown.size());
}

std::optional<Verdict> verdict_of_key(std::string_view line) {
  if (line == "l" || line == "1") return Verdict::left;
  if (line == "r" || line == "2") return Verdict::right;
  if (line == "t" || line == "3") return Verdict::tie;
  if (line == "b" || line == "4") return Verdict::both_bad;
  if (line == "s") return Verdict::skip;
  return verdict_of(line);
}

std::string trimmed(const std::string& line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  if (begin == line.npos) return "";
  return line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
}

// One conversation with one person.
class Terminal {
 public:
  Terminal(LabelSession& session, const std::string& user, std::ostream& out, uint64_t seed)
      : session_(session), user_(user), out_(out), seed_(seed) {}

  void run(LineReader& in) {
    bool waited = false;
    while (true) {
      const View view = session_.view_or_wait(user_, 1000);
      if (view.offer == Offer::waiting) {
        if (!waited) out_ << "Answers are being sampled…\n" << std::flush;
        waited = true;
        if (session_.stopped()) return;
        continue;
      }
      waited = false;
      if (view.offer == Offer::failed) throw std::runtime_error("sampling failed: " + view.failure);
      if (view.offer == Offer::done) {
        out_ << "All pairs are judged. [u]ndo, or [q]uit.\n";
      } else if (view.pair != shown_) {
        show(view);
      }
      out_ << "> " << std::flush;
      std::string line;
      if (!in.next(line)) return;
      if (!act(trimmed(line), view)) return;
    }
  }

 private:
  void show(const View& view) {
    shown_ = view.pair;
    comment_ = view.comment;
    const Progress& progress = view.progress;
    out_ << fmt::format("\n=== pair {} of {}\n{}\n", progress.judged + progress.skipped + 1,
                        progress.total(), safe(shown_text(view.prompt, /*roles=*/true)));
    out_ << "\n--- left" << (view.left_cut ? " (cut off at its greatest length)" : "") << "\n"
         << safe(shown_text(view.left)) << "\n\n--- right"
         << (view.right_cut ? " (cut off at its greatest length)" : "") << "\n"
         << safe(shown_text(view.right)) << "\n\n";
    if (!comment_.empty()) out_ << "comment: " << safe(comment_) << "\n";
    out_ << kHelp;
  }

  // False to leave.
  bool act(const std::string& line, const View& view) {
    try {
      if (line == "q") return false;
      if (line == "u") {
        session_.undo(user_, "");
        shown_.clear();
      } else if (line == "?") {
        statistics();
      } else if (line.starts_with("c ") && view.offer == Offer::pair) {
        comment_ = trimmed(line.substr(2)).substr(0, kMostComment);
      } else if (const auto verdict = verdict_of_key(line); verdict && view.offer == Offer::pair) {
        session_.judge(user_, view.pair, *verdict, comment_);
        out_ << "saved: " << enum_name(*verdict) << "\n";
      } else {
        out_ << kHelp;
      }
    } catch (const StalePair& error) {
      out_ << error.what() << "\n";
    } catch (const std::system_error& error) {
      out_ << "not saved: " << error.what() << "\n";
    }
    return true;
  }

  void statistics() {
    const LabelSession::State state = session_.state();
    out_ << safe(summary_text(summarise_state(state, seed_)));
  }

  LabelSession& session_;
  const std::string& user_;
  std::ostream& out_;
  uint64_t seed_;
  std::string shown_;    // id of the pair that is on the screen
  std::string comment_;  // of it
};

}  // namespace

void label_on_terminal(LabelSession& session, const std::string& user, LineReader& in,
                       std::ostream& out, uint64_t seed) {
  Terminal(session, user, out, seed).run(in);
}

}  // namespace leash::label
