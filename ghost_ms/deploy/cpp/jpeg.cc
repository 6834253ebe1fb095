// JPEG through libjpeg(-turbo), the decoder that Pillow has too.
#include <csetjmp>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "image.h"

// These need what <cstdio> declares.
#include <jerror.h>
#include <jpeglib.h>

namespace ghost_ms {
namespace {

/// libjpeg's errors: a jump out of its C code, which an exception must not cross.
struct Errors {
  jpeg_error_mgr manager{};  // First, so that libjpeg's pointer to it is one to the whole.
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX]{};
};

void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<Errors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

/// A file that ends early is an error; other blemishes are passed over, as everywhere.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// False after an error. No object with a destructor may live in here: the jump would pass it by.
  bool read(const Bytes& content, Image& image) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, content.data(), static_cast<unsigned long>(content.size()));
    jpeg_read_header(&info_, TRUE);
    if (info_.num_components == 4) {
      std::snprintf(errors_.message, JMSG_LENGTH_MAX, "its colours are CMYK; save it as RGB");
      return false;
    }
    if (info_.num_components != 1) info_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info_);
    image = Image(static_cast<int>(info_.output_width), static_cast<int>(info_.output_height),
                  info_.output_components);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = image.row(static_cast<int>(info_.output_scanline));
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  std::string message() const { return errors_.message; }

 private:
  Errors errors_;
  jpeg_decompress_struct info_{};
};

}  // namespace

Image decode_jpeg(const Bytes& content) {
  Decoder decoder;
  Image image;
  if (!decoder.read(content, image)) throw std::runtime_error(decoder.message());
  return image;
}

}  // namespace ghost_ms
