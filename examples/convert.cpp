// Converts a model to FP8, follows the work and checks the file: convert MODEL OUTPUT
#include <cstdio>

#include <ctq/engine/session.h>

namespace engine = ctq::engine;

struct Progress : engine::Events {
  void tensor_done(const engine::TensorDone& done) override {
    std::printf("%zu/%zu %s: %s %s\n", done.index, done.count, done.name.c_str(),
                engine::decision_name(done.decision).data(), done.label.c_str());
  }
};

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: convert MODEL OUTPUT\n"), 2;
  engine::Session session({.console = engine::Console::kAllToStderr,
                           .least = engine::LogLevel::kWarning,
                           .handle_signals = true});
  engine::Settings settings;
  settings.input.path = argv[1];
  settings.output.path = argv[2];
  settings.target.type = "fp8";
  settings.output.comfy_layout = true;
  settings.report.quality = true;
  Progress progress;
  const engine::ConversionResult result = session.convert(settings, progress);
  for (const engine::LayerResult& layer : result.layers)
    std::printf("%s: %.2f dB\n", layer.name.c_str(), layer.error.sqnr_db);
  std::printf("%s: %zu bytes in %.1f s\n", result.written.c_str(), size_t{result.bytes_out}, result.seconds);
  engine::VerificationSettings check;
  check.input = result.written;
  return session.verify(check).refused ? 1 : 0;
} catch (const ctq::Error& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return static_cast<int>(error.code());
}
