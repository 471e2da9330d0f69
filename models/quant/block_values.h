// One value of a GGUF block at a time, as a GPU's thread wants it: the same numbers, bit for bit,
// as dequantize_blocks (block_formats.cpp says how the blocks are laid out). Without fused
// multiply-adds, so whoever includes this is compiled without them.
#pragma once

#include <cstdint>
#include <cstring>

#include "models/device/host_device.h"
#include "models/weights/block_type.h"

namespace leash {

namespace block_values {

template <class Number>
LEASH_HOST_DEVICE Number load(const uint8_t* bytes) {
  Number value;
  memcpy(&value, bytes, sizeof(Number));
  return value;
}

LEASH_HOST_DEVICE float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// IEEE half precision, exactly.
LEASH_HOST_DEVICE float half(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 0x1f;
  uint32_t fraction = bits & 0x3ff;
  if (exponent == 31) return from_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
  // Subnormal: fraction / 2^24, which fp32 has exactly.
  const float magnitude = static_cast<float>(fraction) * from_bits(103u << 23);
  return sign != 0 ? -magnitude : magnitude;
}
LEASH_HOST_DEVICE float half_at(const uint8_t* bytes) { return half(load<uint16_t>(bytes)); }

// The 4 bits of value i of 32 (or of a pair of groups of 32): low halves first.
LEASH_HOST_DEVICE int nibble(const uint8_t* quants, int i, int half_size) {
  return i < half_size ? quants[i] & 0xF : quants[i - half_size] >> 4;
}

LEASH_HOST_DEVICE float q4_0(const uint8_t* block, int i) {
  return static_cast<float>(nibble(block + 2, i, 16) - 8) * half_at(block);
}

LEASH_HOST_DEVICE float q4_1(const uint8_t* block, int i) {
  return static_cast<float>(nibble(block + 4, i, 16)) * half_at(block) + half_at(block + 2);
}

LEASH_HOST_DEVICE int five_bits(const uint8_t* fifth, const uint8_t* quants, int i) {
  return nibble(quants, i, 16) | static_cast<int>((load<uint32_t>(fifth) >> i & 1) << 4);
}

LEASH_HOST_DEVICE float q5_0(const uint8_t* block, int i) {
  return static_cast<float>(five_bits(block + 2, block + 6, i) - 16) * half_at(block);
}

LEASH_HOST_DEVICE float q5_1(const uint8_t* block, int i) {
  return static_cast<float>(five_bits(block + 4, block + 8, i)) * half_at(block) +
         half_at(block + 2);
}

LEASH_HOST_DEVICE float q8_0(const uint8_t* block, int i) {
  return static_cast<float>(static_cast<int8_t>(block[2 + i])) * half_at(block);
}

struct Group {
  float scale;
  float minimum;
};

LEASH_HOST_DEVICE Group group_of(const uint8_t* block, int group) {
  const uint8_t* packed = block + 4;
  int scale = 0, minimum = 0;
  if (group < 4) {
    scale = packed[group] & 63;
    minimum = packed[group + 4] & 63;
  } else {
    scale = (packed[group + 4] & 0xF) | (packed[group - 4] >> 6) << 4;
    minimum = packed[group + 4] >> 4 | (packed[group] >> 6) << 4;
  }
  return {half_at(block) * static_cast<float>(scale),
          half_at(block + 2) * static_cast<float>(minimum)};
}

LEASH_HOST_DEVICE float q4_k(const uint8_t* block, int i) {
  const Group group = group_of(block, i / 32);
  const int value = nibble(block + 16 + i / 64 * 32, i % 64, 32);
  return group.scale * static_cast<float>(value) - group.minimum;
}

LEASH_HOST_DEVICE float q5_k(const uint8_t* block, int i) {
  const Group group = group_of(block, i / 32);
  const int value =
      nibble(block + 48 + i / 64 * 32, i % 64, 32) + (block[16 + i % 32] >> (i / 32) & 1) * 16;
  return group.scale * static_cast<float>(value) - group.minimum;
}

LEASH_HOST_DEVICE float q6_k(const uint8_t* block, int i) {
  const int part = i / 128, quarter = i % 128 / 32, place = i % 32;
  const uint8_t low = block[64 * part + place + 32 * (quarter & 1)];
  const int four = quarter < 2 ? low & 0xF : low >> 4;
  const int two = block[128 + 32 * part + place] >> (2 * quarter) & 3;
  const int value = (four | two << 4) - 32;
  const auto group = static_cast<int8_t>(block[192 + 8 * part + 2 * quarter + place / 16]);
  return half_at(block + 208) * static_cast<float>(group) * static_cast<float>(value);
}

}  // namespace block_values

// Value i of a block (0 for plain numbers) in fp32.
LEASH_HOST_DEVICE float block_value(BlockType type, const uint8_t* block, int i) {
  namespace v = block_values;
  switch (type) {
    case BlockType::f32:
      return v::load<float>(block);
    case BlockType::f16:
      return v::half_at(block);
    case BlockType::q4_0:
      return v::q4_0(block, i);
    case BlockType::q4_1:
      return v::q4_1(block, i);
    case BlockType::q5_0:
      return v::q5_0(block, i);
    case BlockType::q5_1:
      return v::q5_1(block, i);
    case BlockType::q8_0:
      return v::q8_0(block, i);
    case BlockType::q4_k:
      return v::q4_k(block, i);
    case BlockType::q5_k:
      return v::q5_k(block, i);
    case BlockType::q6_k:
      return v::q6_k(block, i);
    case BlockType::i8:
      return static_cast<float>(v::load<int8_t>(block));
    case BlockType::i16:
      return static_cast<float>(v::load<int16_t>(block));
    case BlockType::i32:
      return static_cast<float>(v::load<int32_t>(block));
    case BlockType::i64:
      return static_cast<float>(v::load<int64_t>(block));
    case BlockType::f64:
      return static_cast<float>(v::load<double>(block));
    case BlockType::bf16:
      return v::from_bits(static_cast<uint32_t>(v::load<uint16_t>(block)) << 16);
  }
  return 0;
}

}  // namespace leash
