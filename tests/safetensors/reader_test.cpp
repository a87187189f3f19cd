#include "safetensors/reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "container.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using ctq::test::TempDir;
using ctq::test::write_file;
using test::container;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("reader: names, sizes and bytes", "[safetensors]") {
  const TempDir dir;
  const std::string path = dir / "x.safetensors";
  write_file(path, container(R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},)"
                             R"("a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},)"
                             R"("e":{"dtype":"F16","shape":[0],"data_offsets":[5,5]}})",
                             "abcde"));
  Reader first(path);
  const Reader reader = std::move(first);
  CHECK(reader.path() == path);
  CHECK(reader.file_bytes() == std::filesystem::file_size(path));
  CHECK(reader.find("c") == nullptr);
  REQUIRE(reader.find("a") != nullptr);
  CHECK(text_of(reader.bytes(*reader.find("a"))) == "ab");
  CHECK(text_of(reader.bytes(*reader.find("b"))) == "cde");
  CHECK(reader.bytes(*reader.find("e")).empty());
}

TEST_CASE("reader: prefetched and released tensors keep their bytes", "[safetensors]") {
  const TempDir dir;
  const std::string path = dir / "x.safetensors";
  const std::string data(100'000, 'x');
  write_file(path, container(R"({"a":{"dtype":"U8","shape":[50001],"data_offsets":[0,50001]},)"
                             R"("b":{"dtype":"U8","shape":[49999],"data_offsets":[50001,100000]},)"
                             R"("e":{"dtype":"U8","shape":[0],"data_offsets":[100000,100000]}})",
                             data));
  const Reader reader(path);
  for (const TensorInfo& tensor : reader.header().tensors) {
    reader.prefetch(tensor);
    reader.release(tensor);
    CHECK(text_of(reader.bytes(tensor)) == std::string(tensor.bytes(), 'x'));
  }
}

TEST_CASE("reader: a file without tensors", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "x.safetensors", container("{}"));
  CHECK(Reader(dir / "x.safetensors").header().tensors.empty());
}

TEST_CASE("reader: offsets above 4 GiB", "[safetensors]") {
  const TempDir dir;
  const std::string path = dir / "x.safetensors";
  const std::string start =
      container(R"({"t":{"dtype":"U8","shape":[5368709120],"data_offsets":[0,5368709120]}})");
  write_file(path, start);
  if (::truncate(path.c_str(), static_cast<off_t>(start.size() + 5368709120)) != 0) {
    std::cout << "[skipped] the file system has no sparse files\n";
    return;
  }
  const Reader reader(path);
  const TensorInfo& tensor = *reader.find("t");
  CHECK(tensor.numel() == 5368709120);
  CHECK(reader.bytes(tensor).size() == 5368709120);
  CHECK(reader.bytes(tensor).back() == std::byte{0});
  reader.release(tensor);
}

TEST_CASE("reader: paths that are no readable file", "[safetensors]") {
  const TempDir dir;
  CHECK_THROWS_MATCHES(Reader(dir / "none.safetensors"), Error,
                       HasCode(ErrorCode::kBadInput, dir / "none.safetensors", "No such file or directory"));
  CHECK_THROWS_MATCHES(Reader(dir.path().string()), Error,
                       HasCode(ErrorCode::kBadInput, dir.path().string(), "is a directory"));
  write_file(dir / "empty.safetensors", "");
  CHECK_THROWS_MATCHES(Reader(dir / "empty.safetensors"), Error,
                       HasCode(ErrorCode::kBadInput, dir / "empty.safetensors", "empty"));
  CHECK_THROWS_MATCHES(Reader(dir / "empty.safetensors/x"), Error,
                       HasCode(ErrorCode::kBadInput, "Not a directory"));
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_MATCHES(Reader(dir / "pipe"), Error, HasCode(ErrorCode::kBadInput, "pipe or device"));
}

namespace {

/// A file with one tensor "t" of that many bytes 'x'.
std::string file_of_x(const TempDir& dir, size_t bytes) {
  const std::string path = dir / "x.safetensors", size = std::to_string(bytes);
  write_file(path,
             container(R"({"t":{"dtype":"U8","shape":[)" + size + R"(],"data_offsets":[0,)" + size + "]}}",
                       std::string(bytes, 'x')));
  return path;
}

}  // namespace

TEST_CASE("reader: a file that is cut while it is mapped gives zeros, then errors, and no signal",
          "[safetensors]") {
  const TempDir dir;
  const std::string path = file_of_x(dir, 100'000);
  std::optional<Reader> reader(path);
  const TensorInfo& tensor = *reader->find("t");
  const TensorBytes bytes = reader->bytes(tensor);
  CHECK_NOTHROW(check_inputs());
  REQUIRE(::truncate(path.c_str(), 8192) == 0);
  CHECK_THROWS_MATCHES(check_inputs(), Error, HasCode(ErrorCode::kBadInput, path, "truncated", "to 8192"));
  std::vector<std::thread> threads;
  std::atomic<int> zeros = 0;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { zeros += bytes[90'000] == std::byte{0} ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  CHECK(zeros == 4);
  CHECK(bytes[10] == std::byte{'x'});
  CHECK_THROWS_MATCHES(reader->release(tensor), Error, HasCode(ErrorCode::kBadInput, path, "truncated"));
  CHECK_THROWS_MATCHES(reader->prefetch(tensor), Error, HasCode(ErrorCode::kBadInput, path));
  CHECK_THROWS_MATCHES(reader->bytes(tensor), Error, HasCode(ErrorCode::kBadInput, path));
  reader.reset();
  CHECK_NOTHROW(check_inputs());  // it was told

  // The place in the handler's list is used again.
  const TempDir other;
  const Reader again(file_of_x(other, 100'000));
  CHECK(again.bytes(*again.find("t"))[90'000] == std::byte{'x'});
  CHECK_NOTHROW(again.release(*again.find("t")));
}

TEST_CASE("reader: what happened to a file that is closed again is told once", "[safetensors]") {
  const TempDir dir;
  const std::string path = file_of_x(dir, 100'000);
  {
    const Reader reader(path);
    REQUIRE(::truncate(path.c_str(), 8192) == 0);
    CHECK(reader.bytes(*reader.find("t"))[90'000] == std::byte{0});
  }
  CHECK_THROWS_MATCHES(check_inputs(), Error, HasCode(ErrorCode::kBadInput, path, "truncated"));
  CHECK_NOTHROW(check_inputs());
}

TEST_CASE("reader: a file that is written to is told, one that is renamed or removed does no harm",
          "[safetensors]") {
  const TempDir dir;
  const std::string path = file_of_x(dir, 100);
  const Reader reader(path);
  std::filesystem::rename(path, dir / "y");
  CHECK_NOTHROW(check_inputs());
  write_file(path, "another file");
  CHECK_NOTHROW(check_inputs());
  std::filesystem::last_write_time(dir / "y",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK_THROWS_MATCHES(check_inputs(), Error, HasCode(ErrorCode::kBadInput, path, "written to"));
  std::filesystem::remove(dir / "y");
  CHECK(text_of(reader.bytes(*reader.find("t"))) == std::string(100, 'x'));
}

TEST_CASE("reader: pieces are read without the mapping, and a short file is told", "[safetensors]") {
  const TempDir dir;
  const std::string path = file_of_x(dir, 100'000);
  const Reader reader(path);
  std::vector<std::byte> piece(10);
  reader.read(*reader.find("t"), 99'990, piece);
  CHECK(text_of(piece) == std::string(10, 'x'));
  REQUIRE(::truncate(path.c_str(), 8192) == 0);
  CHECK_THROWS_MATCHES(reader.read(*reader.find("t"), 99'990, piece), Error,
                       HasCode(ErrorCode::kBadInput, path, "truncated", "tensor 't'"));
}

TEST_CASE("reader: no permission", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "x.safetensors", container("{}"));
  REQUIRE(::chmod((dir / "x.safetensors").c_str(), 0) == 0);
  if (::geteuid() == 0) {
    std::cout << "[skipped] root may read everything\n";
    return;
  }
  CHECK_THROWS_MATCHES(Reader(dir / "x.safetensors"), Error,
                       HasCode(ErrorCode::kBadInput, dir / "x.safetensors", "Permission denied"));
}

}  // namespace ctq::safetensors
