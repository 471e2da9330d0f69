// The folder of a labelling: pairs.jsonl (all pairs), judgements.jsonl (the log of what people
// said), and preferences.jsonl, which follows from both and is what training reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "experiments/label/judgement.h"
#include "experiments/label/pair.h"
#include "models/io/posix_file.h"

namespace leash::label {

// One process at a time holds it (flock on `.lock`). Not for several threads at once: LabelSession
// sees to that.
class LabelFolder {
 public:
  // Creates it if need be and reads what is there. A last line that a crash left torn is cut off,
  // which a message says; anything else that is wrong is a FormatError that names file and line.
  // ConfigError where another process holds the folder, or it cannot be made.
  explicit LabelFolder(const std::filesystem::path& path);
  ~LabelFolder();
  LabelFolder(const LabelFolder&) = delete;
  LabelFolder& operator=(const LabelFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path preferences_file() const { return path_ / "preferences.jsonl"; }
  const std::vector<std::string>& messages() const { return messages_; }
  const std::vector<LabelPair>& pairs() const { return pairs_; }
  // nullptr where there is none.
  const LabelPair* pair(const std::string& id) const;
  const Judgements& judgements() const { return judgements_; }

  // How the answers are made. The first time it is written down; afterwards it has to be the same,
  // else ConfigError lists what differs.
  void settle(const Json& settings);

  // Both are on disk when they return (fsync), or nothing has changed and they throw
  // std::system_error. Pairs that are there already are passed over.
  void add(const std::vector<LabelPair>& pairs);
  void add(const JournalEvent& event);

 private:
  void read();
  void keep(LabelPair pair);
  void append(AppendFile& file, uint64_t& size, const std::string& text);
  void write_preferences();

  std::filesystem::path path_;
  int lock_ = -1;
  std::vector<std::string> messages_;
  std::vector<LabelPair> pairs_;
  std::unordered_map<std::string, size_t> places_;  // of pairs, by id
  Judgements judgements_;
  std::optional<AppendFile> pairs_file_, log_file_, preferences_;
  uint64_t pairs_size_ = 0, log_size_ = 0;
  bool preferences_whole_ = false;  // else they are written anew with the next judgement
};

}  // namespace leash::label
