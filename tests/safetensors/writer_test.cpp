#include "safetensors/writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "container.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::safetensors {
namespace {

using ctq::test::HasCode;
using ctq::test::read_file;
using ctq::test::TempDir;
using ctq::test::write_file;
using test::bytes_of;
using test::container;
using test::tensor;
using namespace std::string_literals;
using namespace std::string_view_literals;
using Names = std::vector<std::string>;

std::vector<TensorInfo> two_tensors() {
  return lay_out({tensor("a", Dtype::kU8, {3}), tensor("b", Dtype::kF16, {1})});
}

#define CHECK_FAILS(expression, ...) \
  CHECK_THROWS_MATCHES(expression, Error, HasCode(ErrorCode::kFailure, __VA_ARGS__))

/// A file system of 64 KiB, while it lives.
class SmallDisk {
 public:
  SmallDisk() : mounted_(::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=64k") == 0) {
    if (!mounted_) std::cout << "[skipped] mounting a small file system needs root\n";
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  bool mounted_;
};

}  // namespace

TEST_CASE("lay_out: by dtype, then name in byte order, back to back", "[safetensors]") {
  const std::vector<TensorInfo> tensors = lay_out({
      tensor("flag", Dtype::kBool, {1}),
      tensor("b", Dtype::kF32, {2}),
      tensor("\xc3\xa9", Dtype::kF32, {}),
      tensor("B", Dtype::kF32, {1}),
      tensor("empty", Dtype::kI64, {0, 3}),
      tensor("half", Dtype::kF4, {2}),
      tensor("six", Dtype::kF6E2M3, {4}),
      tensor("codes", Dtype::kI8, {5}),
  });
  std::string order;
  uint64_t end = 0;
  for (const TensorInfo& info : tensors) {
    order += info.name + " ";
    CHECK(info.begin == end);
    end = info.end;
  }
  CHECK(order == "empty B b \xc3\xa9 codes six half flag ");
  CHECK(end == 4 + 8 + 4 + 5 + 3 + 1 + 1);
}

TEST_CASE("lay_out: what has no place in a file", "[safetensors]") {
  CHECK_FAILS(lay_out({tensor("a", Dtype::kU8, {1}), tensor("a", Dtype::kU8, {2})}), "named 'a'");
  CHECK_FAILS(lay_out({tensor("a", Dtype::kU8, {1}), tensor("a", Dtype::kF32, {2})}), "named 'a'");
  CHECK_FAILS(lay_out({tensor("__metadata__", Dtype::kU8, {1})}), "__metadata__");
  CHECK_FAILS(lay_out({tensor("a", Dtype::kF32, {4294967296, 4294967296})}), "tensor 'a'",
              "[4294967296, 4294967296]");
  CHECK_FAILS(lay_out({tensor("a", Dtype::kF4, {3})}), "tensor 'a'", "[3] of F4");
  const int64_t huge = (int64_t{1} << 60) + 1;
  const std::vector<TensorInfo> many = {tensor("a", Dtype::kU8, {huge}), tensor("b", Dtype::kU8, {huge}),
                                        tensor("c", Dtype::kU8, {huge}), tensor("d", Dtype::kU8, {huge})};
  CHECK_FAILS(lay_out(many), "tensor 'd'");
}

TEST_CASE("writer: the same bytes as the reference writer (safetensors 0.8.0)", "[safetensors]") {
  const std::string reference =
      "\xe0\x01\0\0\0\0\0\0"s
      R"({"__metadata__":{"format":"pt"},"empty":{"dtype":"I64","shape":[0,4],"data_offsets":[0,0]},)"
      R"("a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("b.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[4,20]},)"
      R"("scale":{"dtype":"F16","shape":[],"data_offsets":[20,22]},)"
      "\"na\xc3\xafve \\\"q\\\"\\\\\\n\\u0001\x7f/\":"
      R"({"dtype":"I8","shape":[1,1,1,1,1],"data_offsets":[22,23]},)"
      R"("codes":{"dtype":"U8","shape":[3],"data_offsets":[23,26]},)"
      R"("flag":{"dtype":"BOOL","shape":[2],"data_offsets":[26,28]}}      )"
      "\0\0\x80\xbf\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\x3c\xff\x01\x02\x03\x01\0"s;
  const std::string odd_name = "na\xc3\xafve \"q\"\\\n\x01\x7f/";
  const TempDir dir;
  Writer writer(dir / "x.safetensors",
                lay_out({tensor("b.weight", Dtype::kF32, {2, 2}), tensor("a.weight", Dtype::kF32, {1}),
                         tensor("scale", Dtype::kF16, {}), tensor("codes", Dtype::kU8, {3}),
                         tensor("empty", Dtype::kI64, {0, 4}), tensor(odd_name, Dtype::kI8, {1, 1, 1, 1, 1}),
                         tensor("flag", Dtype::kBool, {2})}),
                {{"format", "pt"}});
  CHECK(writer.file_bytes() == reference.size());
  writer.write("flag", bytes_of("\x01\0"sv));
  writer.write("codes", bytes_of("\x01\x02\x03"sv));
  writer.write(odd_name, bytes_of("\xff"sv));
  writer.write("scale", bytes_of("\0\x3c"sv));
  writer.write("a.weight", bytes_of("\0\0\x80\xbf"sv));
  writer.write("b.weight", bytes_of("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40"sv));
  writer.commit();
  CHECK(read_file(dir / "x.safetensors") == reference);
  CHECK(dir.entries() == Names{"x.safetensors"});
}

TEST_CASE("writer: the order of writing does not show", "[safetensors]") {
  const TempDir dir;
  for (const bool forward : {true, false}) {
    Writer writer(dir / (forward ? "1" : "2"), two_tensors(), {{"z", "1"}, {"a", "2"}});
    if (forward) writer.write("a", bytes_of("abc"));
    writer.write("b", bytes_of("xy"));
    if (!forward) writer.write("a", bytes_of("abc"));
    writer.finish();
    writer.commit();
  }
  CHECK(read_file(dir / "1") == read_file(dir / "2"));
  CHECK(read_file(dir / "1").ends_with("xyabc"));
  CHECK(read_file(dir / "1").find(R"({"__metadata__":{"a":"2","z":"1"},)") == 8);
}

TEST_CASE("writer: many threads", "[safetensors]") {
  const TempDir dir;
  constexpr int kTensors = 64;
  std::vector<TensorInfo> tensors;
  for (int i = 0; i < kTensors; ++i) tensors.push_back(tensor(std::to_string(i), Dtype::kU8, {1000}));
  Writer writer(dir / "x", lay_out(tensors), {});
  std::vector<std::thread> threads;
  for (int first = 0; first < 4; ++first) {
    threads.emplace_back([&writer, first] {
      for (int i = first; i < kTensors; i += 4) {
        writer.write(std::to_string(i), bytes_of(std::string(1000, static_cast<char>(i))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  writer.commit();
  const Reader reader(dir / "x");
  for (int i = 0; i < kTensors; ++i) {
    const auto bytes = reader.bytes(*reader.find(std::to_string(i)));
    CHECK(bytes.front() == static_cast<std::byte>(i));
    CHECK(bytes.back() == static_cast<std::byte>(i));
  }
}

TEST_CASE("writer: copies a tensor of another file", "[safetensors]") {
  const TempDir dir;
  const std::string data(300'000, 'd');
  write_file(dir / "source", container(R"({"s":{"dtype":"U8","shape":[300000],"data_offsets":[3,300003]},)"
                                       R"("t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                                       "abc" + data));
  const Reader source(dir / "source");
  Writer writer(dir / "x", lay_out({tensor("a", Dtype::kU8, {3}), tensor("n", Dtype::kU8, {300000})}), {});
  CHECK_FAILS(writer.copy("a", source, *source.find("s")), "tensor 'a' takes 3 bytes", "has 300000");
  writer.copy("a", source, *source.find("t"));
  writer.copy("n", source, *source.find("s"));
  CHECK_FAILS(writer.copy("n", source, *source.find("s")), "tensor 'n' is written twice");
  writer.commit();
  CHECK(read_file(dir / "x").ends_with("abc" + data));
}

TEST_CASE("writer: copies between file systems", "[safetensors]") {
  const SmallDisk disk;
  if (!disk.mounted()) return;
  const TempDir dir;
  write_file(disk.dir() / "source",
             container(R"({"s":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "abc"));
  const Reader source(disk.dir() / "source");
  Writer writer(dir / "x", lay_out({tensor("s", Dtype::kU8, {3})}), {});
  writer.copy("s", source, *source.find("s"));
  writer.commit();
  CHECK(read_file(dir / "x").ends_with("abc"));
}

TEST_CASE("writer: a source that shrinks meanwhile is an error", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "source", container(R"({"s":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "abc"));
  const Reader source(dir / "source");
  Writer writer(dir / "x", lay_out({tensor("s", Dtype::kU8, {3})}), {});
  std::filesystem::resize_file(dir / "source", source.file_bytes() - 2);
  CHECK_THROWS_MATCHES(writer.copy("s", source, *source.find("s")), Error,
                       HasCode(ErrorCode::kBadInput, "source", "tensor 's'", "truncated"));
}

TEST_CASE("writer: a file is not finished when an input changed meanwhile", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "source", container(R"({"s":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "abc"));
  {
    const Reader source(dir / "source");
    Writer writer(dir / "x", lay_out({tensor("s", Dtype::kU8, {3})}), {});
    writer.copy("s", source, *source.find("s"));
    std::filesystem::resize_file(dir / "source", source.file_bytes() - 2);
    CHECK_THROWS_MATCHES(writer.commit(), Error, HasCode(ErrorCode::kBadInput, "source", "truncated"));
  }
  CHECK(dir.entries() == std::vector<std::string>{"source"});
}

TEST_CASE("writer: mistakes in what is written", "[safetensors]") {
  const TempDir dir;
  Writer writer(dir / "x", two_tensors(), {});
  CHECK_FAILS(writer.write("c", bytes_of("abc")), "tensor 'c'", "not in the layout");
  CHECK_FAILS(writer.write("a", bytes_of("abcd")), "tensor 'a' takes 3 bytes", "has 4");
  CHECK_FAILS(writer.write("a", bytes_of("")), "tensor 'a' takes 3 bytes", "has 0");
  writer.write("a", bytes_of("abc"));
  CHECK_FAILS(writer.write("a", bytes_of("abc")), "tensor 'a' is written twice");
  CHECK_FAILS(writer.finish(), dir / "x", "tensor 'b' was not written");
  CHECK_FAILS(writer.commit(), dir / "x", "tensor 'b' was not written");
  CHECK_FALSE(std::filesystem::exists(dir / "x"));
  writer.write("b", bytes_of("xy"));
  writer.commit();
  CHECK(std::filesystem::exists(dir / "x"));
}

TEST_CASE("writer: tensors without bytes need not be written", "[safetensors]") {
  const TempDir dir;
  Writer writer(dir / "x", lay_out({tensor("e", Dtype::kF32, {0}), tensor("f", Dtype::kF32, {2, 0})}), {});
  writer.write("e", {});
  writer.write("e", {});
  writer.commit();
  CHECK(Reader(dir / "x").header().tensors.size() == 2);
}

TEST_CASE("writer: a layout that the reader would refuse is not written", "[safetensors]") {
  const TempDir dir;
  CHECK_FAILS(Writer(dir / "x", {tensor("a", Dtype::kU8, {3})}, {}), "tensor 'a'");
  CHECK(dir.entries().empty());
}

TEST_CASE("writer: without commit the folder is as it was", "[safetensors]") {
  const TempDir dir;
  write_file(dir / "x", "older");
  {
    Writer writer(dir / "x", two_tensors(), {});
    const std::string hidden = ".x." + std::to_string(::getpid()) + ".partial";
    CHECK(dir.entries() == Names{hidden, "x"});
    CHECK(std::filesystem::file_size(dir / hidden) == writer.file_bytes());
    writer.write("a", bytes_of("abc"));
    CHECK(read_file(dir / "x") == "older");
  }
  CHECK(dir.entries() == Names{"x"});
  CHECK(read_file(dir / "x") == "older");
  { const Writer writer(dir / "new/folder/x", two_tensors(), {}); }
  CHECK(dir.entries() == Names{"x"});
}

TEST_CASE("writer: a kept file is taken up by the next writer of that path", "[safetensors]") {
  const TempDir dir;
  const auto kept = [&] { return Writer(dir / "x", two_tensors(), {}, Unfinished::kKept); };
  kept().write("a", bytes_of("abc"sv));
  CHECK(dir.entries() == Names{".x.partial"});
  CHECK(partial_path(dir / "x") == dir / ".x.partial");
  Writer writer = kept();
  CHECK_FAILS(kept(), dir / "x", "another run");
  CHECK(writer.adopt("a", checksum(bytes_of("abc"sv))));
  CHECK_FALSE(writer.adopt("a", checksum(bytes_of("abd"sv))));
  CHECK_FALSE(writer.adopt("c", 0));
  CHECK_FAILS(writer.finish(), "'b'");
  writer.write("b", bytes_of("bb"sv));
  SECTION("adopted") {
    writer.commit();
    CHECK(read_file(dir / "x").ends_with("abc"));
  }
  SECTION("written all the same") {
    writer.write("a", bytes_of("ABC"sv));
    CHECK_FAILS(writer.write("a", bytes_of("ABC"sv)), "twice");
    writer.commit();
    CHECK(read_file(dir / "x").ends_with("ABC"));
  }
  CHECK(dir.entries() == Names{"x"});
}

TEST_CASE("writer: missing folders are made", "[safetensors]") {
  const TempDir dir;
  Writer writer(dir / "new/folder/x", lay_out({}), {});
  writer.commit();
  CHECK(Reader(dir / "new/folder/x").file_bytes() == 16);
}

TEST_CASE("writer: permissions are those of a new file, or of the older one", "[safetensors]") {
  const TempDir dir;
  auto mode = [&](std::string_view name) {
    struct stat status {};
    ::stat((dir / name).c_str(), &status);
    return status.st_mode & 07777;
  };
  write_file(dir / "plain", "");
  write_text_file(dir / "new", "text");
  CHECK(mode("new") == mode("plain"));
  write_file(dir / "older", "");
  ::chmod((dir / "older").c_str(), 0640);
  write_text_file(dir / "older", "text");
  CHECK(mode("older") == 0640);
  CHECK(read_file(dir / "older") == "text");
}

TEST_CASE("writer: a symbolic link stays, its file is replaced", "[safetensors]") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "store");
  write_file(dir / "store/real", "older");
  std::filesystem::create_symlink("store/real", dir / "link");
  std::filesystem::create_symlink("link", dir / "second");
  std::filesystem::create_symlink("store/later", dir / "dangling");
  write_text_file(dir / "second", "newer");
  write_text_file(dir / "dangling", "first");
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(std::filesystem::is_symlink(dir / "second"));
  CHECK(read_file(dir / "store/real") == "newer");
  CHECK(read_file(dir / "store/later") == "first");
  std::filesystem::create_symlink("loop", dir / "loop");
  CHECK_FAILS(write_text_file(dir / "loop", ""), dir / "loop", "Too many levels of symbolic links");
}

TEST_CASE("writer: targets that cannot be files", "[safetensors]") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "folder");
  write_file(dir / "file", "");
  CHECK_FAILS(Writer(dir / "folder", {}, {}), dir / "folder", "is a directory");
  CHECK_FAILS(Writer(dir / "new/", {}, {}), "is a directory");
  CHECK_FAILS(Writer("", {}, {}), "is a directory");
  CHECK_FAILS(Writer("/dev/null", {}, {}), "/dev/null", "not a regular file");
  CHECK_FAILS(Writer(dir / "file/x", {}, {}), dir / "file/x", "Not a directory");
  CHECK_FAILS(Writer(dir / "file/new/x", {}, {}), dir / "file/new/x", "Not a directory");
  CHECK_FAILS(Writer(dir / std::string(256, 'n'), {}, {}), "File name too long");
  CHECK(dir.entries() == Names{"file", "folder"});
}

TEST_CASE("writer: the longest file name still has room for a temporary one", "[safetensors]") {
  const TempDir dir;
  std::string name;
  while (name.size() < 254) name += "\xc3\xa9";
  write_text_file(dir / name, "text");
  CHECK(dir.entries() == Names{name});
}

TEST_CASE("writer: what a killed run left of a file with a long name is known by it", "[safetensors]") {
  const TempDir dir;
  const std::string name(255, 'n');
  std::string hidden;
  {
    const Writer writer(dir / name, lay_out({}), {});
    hidden = dir.entries().at(0);
  }
  CAPTURE(hidden);
  // Another process, another day: the same hash.
  const std::string ending = "." + std::to_string(::getpid()) + ".partial";
  REQUIRE(hidden.ends_with(ending));
  const std::string stem = hidden.substr(0, hidden.size() - ending.size());
  CHECK(stem.ends_with("nn.8733856d765c252f"));
  write_file(dir / (stem + ".999999999.partial"), "left");
  Writer(dir / name, lay_out({}), {}).commit();
  CHECK(dir.entries() == Names{name});
}

TEST_CASE("writer: a leftover of a killed run is replaced, a living one is not", "[safetensors]") {
  const TempDir dir;
  write_file(dir / (".x." + std::to_string(::getpid()) + ".partial"), "left");
  Writer writer(dir / "x", lay_out({}), {});
  CHECK_FAILS(Writer(dir / "x", {}, {}), dir / "x", "another run");
  writer.commit();
  CHECK(dir.entries() == Names{"x"});
}

TEST_CASE("writer: a read-only folder", "[safetensors]") {
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0555);
  if (::geteuid() == 0) {
    std::cout << "[skipped] root may write everywhere\n";
    return;
  }
  CHECK_FAILS(Writer(dir / "x", {}, {}), dir / "x", "Permission denied");
  CHECK_FAILS(Writer(dir / "new/x", {}, {}), dir / "new", "Permission denied");
}

TEST_CASE("writer: a full disk is found before the work", "[safetensors]") {
  const SmallDisk disk;
  if (!disk.mounted()) return;
  const TempDir& dir = disk.dir();
  write_file(dir / "x", "older");
  CHECK_FAILS(Writer(dir / "x", lay_out({tensor("a", Dtype::kU8, {100'000})}), {}), dir / "x",
              "not enough space", "97.7 KiB", "60.0 KiB are free", "No space left on device");
  CHECK(dir.entries() == Names{"x"});
  CHECK(read_file(dir / "x") == "older");
  CHECK_NOTHROW(Writer(dir / "x", lay_out({tensor("a", Dtype::kU8, {30'000})}), {}).file_bytes());
}

TEST_CASE("writer: what a killed run left of the same file goes, what another still writes stays",
          "[safetensors]") {
  const TempDir dir;
  write_file(dir / ".x.4194305.partial", "left");
  write_file(dir / ".x.not-a-process.partial", "another program's");
  write_file(dir / ".y.4194305.partial", "of another file");
  const std::string busy = dir / ".x.4194306.partial";
  write_file(busy, "being written");
  const int held = ::open(busy.c_str(), O_RDWR);
  REQUIRE(::flock(held, LOCK_EX | LOCK_NB) == 0);
  const Writer writer(dir / "x", {}, {});
  CHECK_FALSE(std::filesystem::exists(dir / ".x.4194305.partial"));
  CHECK(std::filesystem::exists(dir / ".x.not-a-process.partial"));
  CHECK(std::filesystem::exists(dir / ".y.4194305.partial"));
  CHECK(std::filesystem::exists(busy));
  ::close(held);
}

}  // namespace ctq::safetensors
