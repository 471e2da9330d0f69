// What is said to the user while this object lives (models/notices.h).
#pragma once

#include <string>
#include <vector>

#include "models/notices.h"

namespace leash::testing {

struct HeardNotices {
  HeardNotices() {
    send_notices([this](const std::string& text) { texts.push_back(text); });
  }
  ~HeardNotices() { send_notices({}); }
  HeardNotices(const HeardNotices&) = delete;
  HeardNotices& operator=(const HeardNotices&) = delete;

  std::vector<std::string> texts;
};

}  // namespace leash::testing
