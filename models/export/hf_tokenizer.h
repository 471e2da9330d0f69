// A GGUF's vocabulary as the files that Hugging Face's tokenizers read.
#pragma once

#include <filesystem>

namespace leash {

// Writes tokenizer.json and tokenizer_config.json (with the chat template) into the folder.
// FormatError naming the kind of vocabulary, or its pre-tokenizer, where it cannot be said there.
void write_hf_tokenizer(const std::filesystem::path& folder, const std::filesystem::path& gguf);

}  // namespace leash
