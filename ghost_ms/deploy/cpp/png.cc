// PNG through libpng.
#include <png.h>

#include <algorithm>
#include <csetjmp>
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

}  // namespace

Decoded decode_png(const Bytes& content) {
  Decoder decoder;
  Decoded decoded;
  if (!decoder.read({content.data(), content.data() + content.size()}, decoded)) {
    throw std::runtime_error(decoder.message());
  }
  return decoded;
}

}  // namespace ghost_ms
