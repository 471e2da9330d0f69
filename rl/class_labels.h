// labels.json beside an adapter: the names of its classes under transformers' keys, so that
// from_pretrained(base, num_labels=…, **json.load(open("labels.json"))) gives the model its names.
#pragma once

#include <filesystem>
#include <optional>

#include "rl/data/labelled_texts.h"

namespace leash {

// {"id2label": {"0": "negative", …}, "label2id": {"negative": 0, …}}
void write_class_labels(const std::filesystem::path& folder, const ClassNames& classes);

// None where the folder has no such file. FormatError when its entries are not 0 … n - 1.
std::optional<ClassNames> read_class_labels(const std::filesystem::path& folder);

}  // namespace leash
