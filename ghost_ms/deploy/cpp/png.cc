// PNG through libpng.
#include <png.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "exif.h"
#include "image.h"

namespace ghost_ms {
namespace {

struct Source {
  const std::uint8_t* next;
  const std::uint8_t* end;
};

void on_error(png_structp png, png_const_charp message) {
  *static_cast<std::string*>(png_get_error_ptr(png)) = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep target, std::size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (static_cast<std::size_t>(source->end - source->next) < count) png_error(png, "the file is truncated");
  std::copy_n(source->next, count, target);
  source->next += count;
}

class Decoder {
 public:
  Decoder()
      : png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {}
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// False after an error. No object with a destructor may live in here: libpng's jump would pass it by.
  bool read(Source source, Decoded& decoded) {
    if (info_ == nullptr || setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, &source, on_read);
    png_read_info(png_, info_);
    check_size(png_get_image_width(png_, info_), png_get_image_height(png_, info_));
    const int passes = to_eight_bit_without_alpha();
    Image& image = decoded.image;
    image = Image(static_cast<int>(png_get_image_width(png_, info_)),
                  static_cast<int>(png_get_image_height(png_, info_)), png_get_channels(png_, info_));
    for (int pass = 0; pass < passes; ++pass) {
      for (int y = 0; y < image.height; ++y) png_read_row(png_, image.row(y), nullptr);
    }
    png_read_end(png_, info_);
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) != 0) decoded.orientation = exif_orientation(exif, size);
#endif
    return true;
  }

  const std::string& message() const { return message_; }

 private:
  /// Alpha is dropped, not blended, as Pillow's `convert` does. Returns the passes over an interlaced image.
  int to_eight_bit_without_alpha() {
    png_set_palette_to_rgb(png_);
    if (png_get_bit_depth(png_, info_) < 8) png_set_expand_gray_1_2_4_to_8(png_);
    // The upper 8 bits of 16 stay.
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return passes;
  }

  std::string message_ = "out of memory";
  png_structp png_;
  png_infop info_;
};

class Encoder {
 public:
  Encoder()
      : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {}
  ~Encoder() { png_destroy_write_struct(&png_, &info_); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// False after an error; as of `Decoder::read`.
  bool write(std::FILE* file, const std::uint8_t* labels, int width, int height) {
    if (info_ == nullptr || setjmp(png_jmpbuf(png_)) != 0) return false;
    png_init_io(png_, file);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                 PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_PLTE(png_, info_, palette_.data(), static_cast<int>(palette_.size()));
    png_write_info(png_, info_);
    for (int y = 0; y < height; ++y) {
      png_write_row(png_, labels + static_cast<std::size_t>(width) * static_cast<std::size_t>(y));
    }
    png_write_end(png_, nullptr);
    return true;
  }

  const std::string& message() const { return message_; }

 private:
  /// VOC's: the bits of a label, three at a time from the lowest, are the colours' from the highest.
  static std::array<png_color, 256> voc_palette() {
    std::array<png_color, 256> colours{};
    for (unsigned label = 0; label < colours.size(); ++label) {
      unsigned channels[3] = {0, 0, 0};
      for (unsigned bit = 0; bit < 8; ++bit) {
        for (unsigned channel = 0; channel < 3; ++channel) {
          channels[channel] |= (label >> (3 * bit + channel) & 1U) << (7 - bit);
        }
      }
      colours[label] = {static_cast<png_byte>(channels[0]), static_cast<png_byte>(channels[1]),
                        static_cast<png_byte>(channels[2])};
    }
    return colours;
  }

  std::string message_ = "out of memory";
  std::array<png_color, 256> palette_ = voc_palette();
  png_structp png_;
  png_infop info_;
};

}  // namespace

void write_labels(const std::string& path, const std::vector<std::uint8_t>& labels, int width, int height) {
  const std::string temporary = path + ".part";
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) throw std::runtime_error("cannot write '" + path + "': " + std::strerror(errno));
  Encoder encoder;
  const bool written = encoder.write(file, labels.data(), width, height);
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    throw std::runtime_error("cannot write '" + path + "': " + (written ? std::strerror(errno) : encoder.message()));
  }
}

Decoded decode_png(const Bytes& content) {
  Decoder decoder;
  Decoded decoded;
  if (!decoder.read({content.data(), content.data() + content.size()}, decoded)) {
    throw std::runtime_error(decoder.message());
  }
  return decoded;
}

}  // namespace ghost_ms
