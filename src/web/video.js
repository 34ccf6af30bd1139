// A channel's film in the page: the picture, a line that says how it is, controls, and lines for
// players elsewhere, which are unfolded when the browser cannot play it.

import { h, setAttribute, setText } from './dom.js';
import { icon, setIcon } from './icons.js';
import { Player } from './player.js';
import { linesOf, ways } from './players.js';

/** The film of a channel: { name, path, kind }. */
export class Film {
  constructor(channel) {
    this.path = channel.path.slice(1); // relative: a proxy may serve all this below a path
    this.video = h('video', { controls: true, playsinline: true, 'aria-label': `Film of ${channel.name}` });
    this.status = h('p', { class: 'film-status', role: 'status' });
    this.sound = icon('sound');
    this.mute = this.button(this.sound, 'Mute (m)', 'm', () => this.toggleSound());
    this.floating = this.button(icon('floating'), 'Picture in picture (i)', 'i', () => this.toggleFloating());
    this.full = this.button(icon('full'), 'Full screen (F)', 'F', () => this.toggleFull());
    this.floating.hidden = !document.pictureInPictureEnabled;
    this.full.hidden = !document.fullscreenEnabled;
    this.bar = h('div', { class: 'film-bar' }, this.status, this.mute, this.floating, this.full);
    this.elsewhere = h('details', { class: 'elsewhere' }, h('summary', {}, 'Play it elsewhere'), linesOf(ways(channel).lines));
    this.box = h('div', { class: 'film-box' }, this.video);
    this.element = h('section', { class: 'film', 'aria-label': 'Film', hidden: true }, this.box, this.bar, this.elsewhere);
    this.video.addEventListener('volumechange', () => this.drawSound());
  }

  button(sign, label, key, action) {
    return h('button', { type: 'button', class: 'only-icon', 'aria-label': label, title: label, 'aria-keyshortcuts': key, on: { click: action } }, sign);
  }

  get playing() {
    return !this.element.hidden;
  }

  play() {
    this.element.hidden = false;
    this.box.hidden = false;
    this.element.scrollIntoView({ block: 'nearest' });
    this.player = new Player(this.video, this.path, {
      status: (text, trouble) => this.say(text, trouble),
      plays: () => this.drawSound(),
      lacks: (text) => this.lacks(text),
    });
    this.player.open();
  }

  say(text, trouble = false) {
    setText(this.status, text);
    setAttribute(this.bar, 'data-trouble', trouble ? '' : null);
  }

  lacks(text) {
    this.say(`${text} Another player can:`, true);
    this.box.hidden = true;
    this.elsewhere.open = true;
  }

  drawSound() {
    setIcon(this.sound, this.video.muted ? 'muted' : 'sound');
    setAttribute(this.mute, 'aria-pressed', this.video.muted);
    if (/^live(, muted)?$/.test(this.status.textContent)) this.say(this.video.muted ? 'live, muted' : 'live');
  }

  toggleSound() {
    this.video.muted = !this.video.muted;
  }

  toggleFloating() {
    const done = document.pictureInPictureElement ? document.exitPictureInPicture() : this.video.requestPictureInPicture();
    done.catch((error) => this.say(`no picture in picture: ${error.message}`, true));
  }

  toggleFull() {
    const done = document.fullscreenElement ? document.exitFullscreen() : this.video.requestFullscreen();
    done.catch((error) => this.say(`no full screen: ${error.message}`, true));
  }

  stop() {
    // It may have ended by itself meanwhile.
    if (document.pictureInPictureElement === this.video) document.exitPictureInPicture().catch(() => {});
    this.element.hidden = true;
    this.player?.close();
    this.player = null;
  }
}
