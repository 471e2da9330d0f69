// What tokenizers do to a text before they cut it: a list of steps, named as in tokenizer.json.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/text/charsmap.h"
#include "models/text/regex_split.h"
#include "models/text/unicode_forms.h"

namespace leash {

// A text on its way: valid UTF-8.
struct TextInWork {
  std::string text;
  // Whether it still begins with what the whole text began with (a step may have removed that).
  bool from_start = true;
};

class Normalizer {
 public:
  using Step = std::function<void(TextInWork&)>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  void apply(TextInWork& work) const {
    for (const Step& step : steps_) step(work);
  }
  std::string operator()(std::string text) const {
    TextInWork work{std::move(text)};
    apply(work);
    return std::move(work.text);
  }

 private:
  std::vector<Step> steps_;
};

// The steps of Hugging Face's tokenizers.
namespace normalizers {

Normalizer::Step unicode(UnicodeForm form);
Normalizer::Step lowercase();
Normalizer::Step strip(bool left, bool right);
Normalizer::Step strip_accents();
Normalizer::Step replace(Regex pattern, std::string by);
Normalizer::Step prepend(std::string text);
Normalizer::Step nmt();
Normalizer::Step precompiled(std::shared_ptr<const Charsmap> rules);
Normalizer::Step byte_level();
struct Bert {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};
Normalizer::Step bert(const Bert& options);

}  // namespace normalizers
}  // namespace leash
