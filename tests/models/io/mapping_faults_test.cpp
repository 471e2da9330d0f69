// A mapped file that loses its end.
#include "models/io/mapping_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/io/mapped_file.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(MappingFaults, AFileThatLostItsEndIsAnError) {
  const ScratchFolder folder;
  write_text(folder / "x", std::string(16, 'a'));
  const auto file = MappedFile::open(folder / "x");
  std::filesystem::resize_file(folder / "x", 12);
  EXPECT_THAT(
      format_error([&] { tensor_from_file(file, file->bytes(), {4}, at::kFloat, at::kFloat); }),
      HasSubstr("x: became shorter while it was read: 12 bytes of 16 are left"));
}

// While it is being read: the kernel's signal, and not the end without a word.
TEST(MappingFaultsDeathTest, ASignalNamesTheFile) {
  const ScratchFolder folder;
  write_text(folder / "model.bin", std::string(1 << 16, 'a'));
  const auto file = MappedFile::open(folder / "model.bin");
  std::filesystem::resize_file(folder / "model.bin", 1);
  EXPECT_EXIT((void)*static_cast<const volatile std::byte*>(&file->bytes()[1 << 15]),
              ::testing::ExitedWithCode(3), "error: .*model.bin: became shorter while it was read");
}

TEST(MappingFaultsDeathTest, OtherSignalsStay) {
  const ScratchFolder folder;
  write_text(folder / "x", "a");
  const auto file = MappedFile::open(folder / "x");
  EXPECT_EXIT(::raise(SIGBUS), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace leash::testing
