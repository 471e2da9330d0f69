// The anatomy of a decoder, once: the loader, the module list, PEFT's names and the plan read it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/families/module_info.h"

namespace leash {

// The modules of one block; paths begin below the block ("self_attn.q_proj";
// models/families/module_paths.h), groups count from 0. Modules of a group stand side by side.
std::vector<ModuleInfo> block_modules(const DecoderConfig& config);

// Decoder::modules() of a decoder with these facts: embedding (learned positions, its norm),
// blocks, final norm, head. Where embedding and lm_head are tied, the latter has no tensor of its
// own.
std::vector<ModuleInfo> decoder_modules(const DecoderConfig& config);

// Which modules are one product, or one tensor: [begin, end) of the list, in its order.
std::vector<std::pair<int64_t, int64_t>> module_groups(std::span<const ModuleInfo> modules);

// Finds modules by what they do.
class ModuleIndex {
 public:
  explicit ModuleIndex(std::span<const ModuleInfo> modules);
  // -1 where there is none. `layer` is -1 for what belongs to no block.
  int64_t find(ModuleRole role, int64_t layer = -1) const;

 private:
  std::map<std::pair<int64_t, ModuleRole>, int64_t> by_place_;
};

}  // namespace leash
