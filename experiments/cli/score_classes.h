// leash score with an adapter that has a score head.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "experiments/cli/load_model.h"

namespace leash::cli {

// Whether the adapter (none: the model) gives a text as a whole a class or a reward model's score:
// SEQ_CLS, or a sequence-classification checkpoint.
bool scores_whole_texts(const LoadedModel& model,
                        const std::optional<std::filesystem::path>& adapter);

// Prints the class of each line of `input` with all probabilities, or, where the head has one
// output, the score. FormatError.
void score_classes(const LoadedModel& model, const std::optional<std::filesystem::path>& adapter,
                   const std::string& input, bool json);

}  // namespace leash::cli
