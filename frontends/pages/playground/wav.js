// Sounds as WAV, which every server reads.

const RATE = 16_000; // samples per second, those that speech models listen to

/** Whatever this browser can decode, as one channel of 16 bits. */
export async function asWav(blob) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  const mixing = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * RATE)), RATE);
  const source = new AudioBufferSourceNode(mixing, { buffer: decoded });
  source.connect(mixing.destination);
  source.start();
  const samples = (await mixing.startRendering()).getChannelData(0);
  return new Blob([header(samples.length), asIntegers(samples)], { type: "audio/wav" });
}

function asIntegers(samples) {
  const integers = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((value, index) => {
    integers.setInt16(index * 2, Math.round(Math.max(-1, Math.min(1, value)) * 32767), true);
  });
  return integers;
}

function header(count) {
  const view = new DataView(new ArrayBuffer(44));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + count * 2, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of what follows about the form
  view.setUint16(20, 1, true); // integers
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, count * 2, true);
  return view;
}
