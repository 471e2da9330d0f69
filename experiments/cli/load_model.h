// What every command that loads a model shares: its options, and the loading itself.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/tokenizer/tokenizer.h"

namespace leash::cli {

// --model, --dtype, --quantize, --device, --threads.
void add_model_options(boost::program_options::options_description& options);
// --fast.
void add_fast_option(boost::program_options::options_description& options);
// --allow-other-base, which holds for the process as soon as it is read.
void add_other_base_option(boost::program_options::options_description& options);
// --adapter and the former.
void add_adapter_option(boost::program_options::options_description& options);

struct LoadedModel {
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;
  Tokenizer tokenizer;

  // Tokens that end an answer: what the checkpoint names and what the tokenizer names.
  std::vector<int64_t> eos_token_ids() const;
  const DecoderConfig& config() const { return decoder->config(); }
};

// Sets the number of threads and opens --model, whose weights are not loaded yet.
Checkpoint load_checkpoint(const boost::program_options::variables_map& values);
// Sets the number of threads and loads model and tokenizer.
LoadedModel load_model(const boost::program_options::variables_map& values);
// The adapter of --adapter, or none.
std::optional<Adapter> load_adapter_option(const boost::program_options::variables_map& values,
                                           const LoadedModel& model);
// Frozen: nothing here trains. FormatError when it does not fit the model.
Adapter load_frozen_adapter(const std::filesystem::path& folder, const LoadedModel& model);

// Only the tokenizer of --model.
Tokenizer load_tokenizer(const boost::program_options::variables_map& values);

DtypeChoice parse_dtype(const std::string& name);
Quantize parse_quantize(const std::string& name);

}  // namespace leash::cli
