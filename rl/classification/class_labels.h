// labels.json beside an adapter: the names of its classes as transformers' config.json has them.
// from_pretrained(base, id2label=…, label2id=…) gives the model its names, once the keys of
// id2label, which JSON makes texts, are integers again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/io/checkpoint.h"
#include "rl/data/labelled_texts.h"

namespace leash {

// {"id2label": {"0": "negative", …}, "label2id": {"negative": 0, …}}
void write_class_labels(const std::filesystem::path& folder, const ClassNames& classes);

// In this order: data.labels, the labels.json of lora.path, the checkpoint's id2label (of a head
// that has as many outputs as the adapter's, where lora.path has one). LABEL_0, LABEL_1, … of a
// checkpoint are no names. FormatError where data.labels has the checkpoint's names in another
// order.
KnownClasses known_classes(const std::vector<std::string>& labels,
                           const std::optional<std::filesystem::path>& adapter,
                           const Checkpoint& checkpoint);

// The names that a checkpoint gives to its classes; none where it numbers them.
std::optional<ClassNames> named_classes(const Checkpoint& checkpoint);

// None where the folder has no such file. FormatError when its entries are not 0 … n - 1.
std::optional<ClassNames> read_class_labels(const std::filesystem::path& folder);

}  // namespace leash
