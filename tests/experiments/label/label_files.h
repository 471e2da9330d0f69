// Pairs and folders for tests of labelling.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "experiments/label/label_folder.h"
#include "experiments/label/session.h"
#include "tests/support/files.h"

namespace leash::label::testing {

using ::leash::testing::read_text;
using ::leash::testing::ScratchFolder;
using ::leash::testing::write_text;

inline LabelPair text_pair(const std::string& prompt, const std::string& a, const std::string& b) {
  return label_pair(prompt, {a}, {b}, {}, -1);
}

inline std::vector<LabelPair> numbered_pairs(int count) {
  std::vector<LabelPair> pairs;
  for (int i = 0; i < count; ++i) {
    pairs.push_back(text_pair(fmt::format("prompt {}", i), fmt::format("short {}", i),
                              fmt::format("a longer answer {}", i)));
  }
  return pairs;
}

inline JournalEvent judged(const std::string& user, const std::string& pair, Verdict verdict,
                           int left = 0, const std::string& comment = "") {
  return {.undo = false,
          .judgement = {.user = user,
                        .pair = pair,
                        .verdict = verdict,
                        .left = left,
                        .comment = comment,
                        .time = "2026-12-01T03:00:00.000Z"}};
}

inline JournalEvent taken_back(const std::string& user, const std::string& pair) {
  JournalEvent event = judged(user, pair, Verdict::skip);
  event.undo = true;
  return event;
}

inline std::vector<Json> rows_of(const std::filesystem::path& file) {
  std::vector<Json> rows;
  std::istringstream lines(read_text(file));
  for (std::string line; std::getline(lines, line);) rows.push_back(Json::parse(line));
  return rows;
}

}  // namespace leash::label::testing
