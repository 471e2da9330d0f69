// A data file, read as each task reads its own: prompts, samples, pairs, labelled texts.
#include "rl/data/jsonl.h"

#include "rl/data/labelled_texts.h"
#include "rl/data/preferences.h"
#include "rl/data/prompts.h"
#include "rl/data/sft_data.h"
#include "tests/fuzz/fuzz.h"
#include "tests/rl/byte_tokenizer.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

constexpr int64_t kContext = 128;

Tokenizer tokenizer_in(const InputFolder& folder) {
  folder.put("tokenizer.json", leash::testing::byte_tokenizer_with_template_json());
  folder.put("tokenizer_config.json",
             R"({"eos_token": "<|im_end|>", "chat_template": "{% for message in messages %})"
             R"({{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' )"
             R"(+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' )"
             R"(}}{% endif %}"})");
  return Tokenizer::load(folder.path());
}

void read_samples(const std::filesystem::path& file, const Tokenizer& tokenizer) {
  SftDataConfig plain, chat;
  chat.assistant_only_loss = true;
  chat.max_length = 24;
  chat.truncation_mode = TruncationMode::keep_end;
  for (const SftDataConfig& config : {plain, chat}) {
    read_or_refuse([&] { read_sft_data(file, tokenizer, config, kContext); });
  }
}

void read_pairs(const std::filesystem::path& file, const Tokenizer& tokenizer) {
  PreferenceDataConfig whole, cut;
  cut.max_length = 24;
  cut.truncation_mode = PairTruncation::keep_end;
  for (const PreferenceDataConfig& config : {whole, cut}) {
    read_or_refuse([&] { read_preferences(file, tokenizer, config, kContext); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  static const Tokenizer tokenizer = tokenizer_in(folder);
  folder.put("data.jsonl", text_of(data, size));
  const auto file = folder / "data.jsonl";
  read_or_refuse(
      [&] { read_prompts(file, tokenizer, {.max_prompt_length = 100, .context = kContext}); });
  read_samples(file, tokenizer);
  read_pairs(file, tokenizer);
  LabelledDataConfig labelled;
  labelled.train = file;
  labelled.eval_split = 0.3;
  read_or_refuse([&] { read_labelled_data_sets(labelled, tokenizer, kContext, /*seed=*/1); });
  return 0;
}
