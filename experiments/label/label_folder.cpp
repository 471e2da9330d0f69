#include "experiments/label/label_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <iostream>
#include <system_error>
#include <utility>

#include "experiments/label/preference_row.h"
#include "models/errors.h"
#include "models/io/json_file.h"
#include "rl/data/line_reader.h"

namespace leash::label {
namespace {

namespace fs = std::filesystem;

int lock_labels(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path file = folder / ".lock";
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (lock < 0) {
    throw ConfigError(fmt::format("{}: cannot write into the folder of labels: {}", folder.string(),
                                  std::generic_category().message(errno)));
  }
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    throw ConfigError(fmt::format("{} is in use by another `leash label`", folder.string()));
  }
  return lock;
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Bytes of the file up to its last line break.
uint64_t whole_lines(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  const off_t end = ::lseek(descriptor, 0, SEEK_END);
  off_t at = end;
  char byte = 0;
  while (at > 0 && ::pread(descriptor, &byte, 1, at - 1) == 1 && byte != '\n') --at;
  ::close(descriptor);
  return static_cast<uint64_t>(at);
}

// Cuts off what a crash left of a last line; one that only lacks its line break gets it. Returns
// what to tell the user.
std::string mend_last_line(const fs::path& file) {
  const uint64_t whole = whole_lines(file), size = fs::file_size(file);
  if (whole == size) return "";
  std::string rest;
  LineReader lines(file);
  for (std::string line; lines.next(line);) rest = std::move(line);
  if (nlohmann::json::accept(rest)) {
    AppendFile append(file);
    append.append("\n");
    append.sync();
    return "";
  }
  cut_file(file, whole);
  return fmt::format("{}: the last line was not whole and is cut off ({} bytes)", file.string(),
                     size - whole);
}

void for_each_line(const fs::path& file,
                   const std::function<void(std::string_view, int64_t)>& take) {
  LineReader lines(file);
  for (std::string line; lines.next(line);) take(line, lines.number());
}

}  // namespace

LabelFolder::LabelFolder(const fs::path& path) : path_(path), lock_(lock_labels(path)) {
  try {
    read();
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

LabelFolder::~LabelFolder() { ::close(lock_); }

void LabelFolder::read() {
  const fs::path pairs = path_ / "pairs.jsonl", log = path_ / "judgements.jsonl";
  for (const fs::path& file : {pairs, log}) {
    if (!fs::exists(file)) continue;
    if (std::string message = mend_last_line(file); !message.empty()) messages_.push_back(message);
  }
  const auto place = [](const fs::path& file, int64_t line) {
    return fmt::format("{}:{}", file.string(), line);
  };
  if (fs::exists(pairs)) {
    for_each_line(pairs, [&](std::string_view text, int64_t line) {
      const Json json = parse_ordered_json(text, place(pairs, line));
      try {
        keep(pair_of(json));
      } catch (const FormatError& error) {
        throw FormatError(fmt::format("{}: {}", place(pairs, line), error.what()));
      }
    });
  }
  if (fs::exists(log)) {
    for_each_line(log, [&](std::string_view text, int64_t line) {
      const JournalEvent event = parse_event(text, place(log, line));
      if (pair(event.judgement.pair) == nullptr) {
        throw FormatError(fmt::format("{}: pairs.jsonl has no pair {}", place(log, line),
                                      brief(event.judgement.pair)));
      }
      try {
        judgements_.apply(event);
      } catch (const FormatError& error) {
        throw FormatError(fmt::format("{}: {}", place(log, line), error.what()));
      }
    });
  }
  pairs_file_.emplace(pairs);
  log_file_.emplace(log);
  pairs_size_ = fs::file_size(pairs);
  log_size_ = fs::file_size(log);
  sync_to_disk(path_);
  write_preferences();
}

void LabelFolder::keep(LabelPair pair) {
  if (!places_.emplace(pair.id, pairs_.size()).second) return;
  pairs_.push_back(std::move(pair));
}

const LabelPair* LabelFolder::pair(const std::string& id) const {
  const auto found = places_.find(id);
  return found == places_.end() ? nullptr : &pairs_[found->second];
}

void LabelFolder::settle(const Json& settings) {
  const fs::path file = path_ / "settings.json";
  if (!fs::exists(file)) return replace_file(file, settings.dump(2) + "\n");
  const nlohmann::json before = read_json_file(file);
  std::string differences;
  for (const auto& [key, value] : settings.items()) {
    const nlohmann::json now = value;
    const nlohmann::json then = before.contains(key) ? before[key] : nlohmann::json();
    if (now != then) differences += fmt::format("\n{}: {} -> {}", key, then.dump(), now.dump());
  }
  if (differences.empty()) return;
  throw ConfigError(
      fmt::format("{} was begun with other settings; go on with those, or name "
                  "another folder by --out:{}",
                  path_.string(), differences));
}

// Appends and flushes. What was written of a text that did not fit is cut off again, or the next
// one would stand behind half a line.
void LabelFolder::append(AppendFile& file, uint64_t& size, const std::string& text) {
  if (fs::file_size(file.path()) != size) cut_file(file.path(), size);
  try {
    file.append(text);
    file.sync();
  } catch (const std::system_error&) {
    cut_file(file.path(), size);
    throw;
  }
  size += text.size();
}

void LabelFolder::add(const std::vector<LabelPair>& pairs) {
  std::string text;
  for (const LabelPair& pair : pairs) {
    if (!places_.contains(pair.id)) text += line_of(pair_json(pair));
  }
  if (!text.empty()) append(*pairs_file_, pairs_size_, text);
  for (const LabelPair& pair : pairs) keep(pair);
}

void LabelFolder::add(const JournalEvent& event) {
  const LabelPair* judged = pair(event.judgement.pair);
  if (judged == nullptr) throw FormatError("there is no pair " + brief(event.judgement.pair));
  if (event.undo) {  // checked before anything is written
    const auto& own = judgements_.of(event.judgement.user);
    if (own.empty() || own.back().judgement.pair != event.judgement.pair) {
      throw FormatError("the pair is not what was judged last");
    }
  } else if (judgements_.has(event.judgement.user, event.judgement.pair)) {
    throw FormatError("the pair was judged before");
  }
  append(*log_file_, log_size_, event_line(event));
  judgements_.apply(event);
  try {
    if (event.undo || !preferences_whole_) return write_preferences();
    const std::optional<Json> row = preference_row(*judged, event.judgement);
    if (!row) return;
    preferences_->append(line_of(*row));
    preferences_->sync();
  } catch (const std::system_error& error) {
    preferences_whole_ = false;
    std::cerr << "leash: warning: the judgement is in judgements.jsonl, but not yet in "
                 "preferences.jsonl: "
              << error.what() << "\n";
  }
}

void LabelFolder::write_preferences() {
  std::string text;
  for (const Judgement& judgement : judgements_.all()) {
    const LabelPair* judged = pair(judgement.pair);
    if (const auto row = preference_row(*judged, judgement)) text += line_of(*row);
  }
  preferences_whole_ = false;
  preferences_.reset();
  replace_file(preferences_file(), text);
  preferences_.emplace(preferences_file());
  preferences_whole_ = true;
}

}  // namespace leash::label
