#include "rl/data/foreign_format.h"

#include <algorithm>

namespace leash {
namespace {

using namespace std::string_view_literals;

struct Format {
  std::string_view magic;
  std::string_view what;
};

constexpr std::string_view kUtf16 =
    "is UTF-16 text: convert it (iconv -f UTF-16 -t UTF-8 FILE > lines.jsonl)";
constexpr std::string_view kArray =
    "is a JSON array, not one object a line: take it apart (jq -c '.[]' FILE > lines.jsonl)";
constexpr std::string_view kManyLines =
    "begins with an object over several lines, not one object a line: put each on a line of its "
    "own (jq -c . FILE > lines.jsonl)";

constexpr Format kFormats[] = {
    {"\x1f\x8b"sv, "is compressed with gzip: unpack it first (gzip -dc FILE > lines.jsonl)"},
    {"\x28\xb5\x2f\xfd"sv,
     "is compressed with zstd: unpack it first (zstd -dc FILE > lines.jsonl)"},
    {"BZh"sv, "is compressed with bzip2: unpack it first (bzip2 -dc FILE > lines.jsonl)"},
    {"\xfd"
     "7zXZ"sv,
     "is compressed with xz: unpack it first (xz -dc FILE > lines.jsonl)"},
    {"PK\x03\x04"sv, "is a ZIP archive: unpack it first"},
    {"PAR1"sv,
     "is a Parquet file: convert it (in Python: pandas.read_parquet(FILE).to_json(\"lines.jsonl\", "
     "orient=\"records\", lines=True))"},
    {"ARROW1"sv,
     "is an Arrow file: convert it (in Python: "
     "datasets.Dataset.from_file(FILE).to_json(\"lines.jsonl\"))"},
    {"\xff\xfe"sv, kUtf16},
    {"\xfe\xff"sv, kUtf16},
    {"{\0"sv, kUtf16},
    {"\0{"sv, kUtf16}};

}  // namespace

std::string_view foreign_format(std::string_view head) {
  const auto* found = std::ranges::find_if(
      kFormats, [&](const Format& format) { return head.starts_with(format.magic); });
  if (found != std::end(kFormats)) return found->what;
  if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  if (head.starts_with('[')) return kArray;
  const std::string_view line = head.substr(0, head.find('\n'));
  const bool open = line.starts_with('{') && line.find_first_not_of(" \t\r", 1) == line.npos;
  return open && line.size() < head.size() ? kManyLines : "";
}

}  // namespace leash
