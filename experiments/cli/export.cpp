// leash export: a model or its adapter in the formats of other programs.
#include <fmt/format.h>

#include <boost/program_options/value_semantic.hpp>
#include <iostream>
#include <utility>

#include "experiments/cli/commands.h"
#include "experiments/cli/export_model.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "models/errors.h"
#include "models/printable.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kExportHelp{
    "export", "--model MODEL [--adapter DIR] --out PATH --as hf|gguf|gguf-adapter|peft [options]",
    "Writes the model with its adapter, or the adapter alone, for other programs:\n"
    "  hf            a Hugging Face folder with the adapter merged in (transformers, vLLM)\n"
    "  gguf          one GGUF with the adapter merged in (llama.cpp, Ollama)\n"
    "  gguf-adapter  the adapter alone, for llama.cpp's --lora over the base's own GGUF\n"
    "  peft          the adapter alone as PEFT's folder\n"
    "Merging is done in fp32. What was written is read back, compared with base and adapter on\n"
    "some text, and the largest gap printed. DIR is an adapter, a snapshot or a run's folder.",
    "  leash export --model smollm2 --adapter runs/demo --out demo.gguf --as gguf --outtype q8_0\n"
    "  leash export --model smollm2 --adapter runs/demo --out demo-lora.gguf --as gguf-adapter"};

po::options_description export_options() {
  po::options_description options("Options");
  auto add = options.add_options();
  add("model", po::value<std::string>()->value_name("MODEL"),
      "a GGUF file, a Hugging Face folder, org/name in its cache, or smollm2");
  add("adapter", po::value<std::string>()->value_name("DIR"),
      "a LoRA adapter in PEFT's format, a snapshot, or a run's folder");
  add("out", po::value<std::string>()->value_name("PATH"),
      "the file or folder to write, which must not exist");
  add("as", po::value<std::string>()->value_name("FORMAT"), "hf, gguf, gguf-adapter or peft");
  add("outtype", po::value<std::string>()->value_name("TYPE"),
      "f32, f16, bf16 or (GGUF) q8_0; default: f16 or bf16 where the base has it, else f32");
  add("threads", po::value<int64_t>()->value_name("N"),
      "threads of one operation (default: all cores)");
  add_other_base_option(options);
  return options;
}

std::optional<ExportKind> kind_named(const std::string& name) {
  for (const auto& [kind, known] : EnumNames<ExportKind>::values) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

std::optional<BlockType> type_named(const std::string& name) {
  for (const auto& [known, type] :
       {std::pair("f32", BlockType::f32), std::pair("f16", BlockType::f16),
        std::pair("bf16", BlockType::bf16), std::pair("q8_0", BlockType::q8_0)}) {
    if (name == known) return type;
  }
  return std::nullopt;
}

}  // namespace

int export_command(const Arguments& args) {
  const auto values = parse_options(kExportHelp, export_options(), {}, args);
  if (!values) return 0;
  OptionProblems problems;
  const auto out = given<std::string>(*values, "out");
  const auto format = given<std::string>(*values, "as");
  const auto type = given<std::string>(*values, "outtype");
  problems.require(out && !out->empty(), "--out is missing");
  problems.require(format.has_value(), "--as is missing: hf, gguf, gguf-adapter or peft");
  const auto kind = kind_named(format.value_or(""));
  problems.require(
      kind || !format,
      fmt::format("--as must be hf, gguf, gguf-adapter or peft, not `{}`", format.value_or("")));
  const auto out_type = type ? type_named(*type) : std::nullopt;
  problems.require(
      out_type || !type,
      fmt::format("--outtype must be f32, f16, bf16 or q8_0, not `{}`", type.value_or("")));
  problems.check();

  const Checkpoint checkpoint = load_checkpoint(*values);
  ExportRequest request{.checkpoint = checkpoint,
                        .decoder = Decoder::load(checkpoint, at::kFloat),
                        .adapter = {},
                        .kind = *kind,
                        .type = out_type,
                        .out = *out};
  if (const auto adapter = given<std::string>(*values, "adapter")) request.adapter = *adapter;
  const ExportResult result = export_model(request);
  std::cout << gap_text(result) << "\nwritten: " << printable(*out) << "\n";
  return 0;
}

}  // namespace leash::cli
