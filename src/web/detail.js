// One channel in full: how it is and why, its film, its charts, and its tables.

import { byId, h, setAttribute, setText } from './dom.js';
import { bits, clock, count, packets, plural, time } from './format.js';
import { Chart } from './charts.js';
import { Events } from './events.js';
import { OneFlow } from './flow.js';
import { Flows } from './flows.js';
import { icon, setIcon } from './icons.js';
import { disconnect } from './operator.js';
import { counted, reset, since } from './since.js';
import { CLIENT_ACTS, CLIENT_COLUMNS, LEG_COLUMNS, OUTPUT_COLUMNS, Pairs, SUBSCRIBER_COLUMNS, SmallTable } from './tables.js';
import { Film } from './video.js';
import { bar, recentOf, strip } from './strip.js';
import { isFilm, kindOf } from './channels.js';
import { CHANNEL_CHARTS, seriesOf } from './series.js';
import { share } from './share.js';
import { show } from './live.js';

const SPANS = [
  ['1 min', 60],
  ['10 min', 600],
  ['all', Infinity],
];

/** The detail that is open. */
export class Detail {
  constructor(name, play) {
    this.name = name;
    this.wantsPlay = play;
    const path = `streams/${name.split('/').map(encodeURIComponent).join('/')}`;
    const part = (table) => `api/v1/streams/${encodeURIComponent(name)}/${table}?format=csv`;
    this.about = { name, path: `/${path}`, kind: 'stream' };
    this.stateIcon = icon('ok');
    this.stateWord = h('span');
    this.state = h('span', { class: 'state', hidden: true }, this.stateIcon, this.stateWord);
    this.reasons = h('ul', { class: 'reasons' });
    this.playIcon = icon('play');
    this.playWord = h('span', {}, 'Play');
    this.play = h('button', { type: 'button', class: 'primary', hidden: true, 'aria-keyshortcuts': 'p', on: { click: () => this.togglePlay() } }, this.playIcon, this.playWord);
    this.copy = h('button', { type: 'button', title: 'Address, QR code, commands', on: { click: () => share(this.about) } }, icon('share'), 'Copy');
    this.resetWord = h('span', {}, 'Reset counters');
    this.resets = h('button', { type: 'button', 'aria-keyshortcuts': 'r', 'aria-pressed': 'false', title: 'Count from now on, in this page alone (r)', on: { click: () => this.reset() } }, this.resetWord);
    this.counted = h('p', { class: 'counted', role: 'status' });
    this.facts = new Map();
    this.factList = h('dl', { class: 'facts' });
    this.strip = strip();
    this.bar = bar();
    this.filmPlace = h('div');
    this.charts = CHANNEL_CHARTS.map(({ title, series, empty }) => new Chart(title, series, { sync: 'channel', empty }));
    this.oneFlow = new OneFlow(name, path, () => this.openFlow(''));
    this.flows = new Flows(name, (flow) => this.openFlow(flow));
    this.legs = new SmallTable('Inputs', part('legs'), LEG_COLUMNS, 'No inputs.');
    this.outputs = new SmallTable('Outputs', part('outputs'), OUTPUT_COLUMNS, 'No UDP outputs are configured.');
    this.subscribers = new SmallTable('Subscribers', part('subscribers'), SUBSCRIBER_COLUMNS, 'Nobody has subscribed yet.');
    const clients = (columns) => new SmallTable('Clients', part('clients'), columns, 'Nobody is here at present.', (client) => disconnect(name, client, () => this.clients.heading.focus()));
    this.clients = clients(CLIENT_COLUMNS);
    this.actors = () => clients(CLIENT_ACTS);
    this.counters = new Pairs('Counters', this.resets);
    this.build();
    this.listen = () => this.charts.concat(this.oneFlow.chart ?? []).forEach((chart) => chart.recolour());
    document.addEventListener('themechange', this.listen);
  }

  build() {
    const list = h('ol', { class: 'events', 'aria-label': 'Events of this channel' });
    const none = h('p', { class: 'empty' }, 'Nothing happened here yet.');
    const more = h('button', { type: 'button', hidden: true }, 'Older events');
    this.events = new Events(list, none, more);
    this.missing = h('p', { class: 'empty', hidden: true }, 'There is no such channel at present.');
    this.rest = h(
      'div',
      { class: 'rest' },
      h('div', { class: 'detail-now while-heard' }, h('div', { class: 'panel' }, h('h2', {}, 'Rescued and lost, last 60 s'), this.strip.element), h('div', { class: 'panel' }, h('h2', {}, 'Packets, last 60 s'), this.bar.element), this.factList),
      this.filmPlace,
      this.chartsSection(),
      this.oneFlow.element,
      this.flows.element,
      this.legs.element,
      this.outputs.element,
      this.subscribers.element,
      this.clients.element,
      h('section', { 'aria-label': 'Events' }, h('div', { class: 'section-head' }, h('h2', {}, 'Events')), list, none, more),
      this.counters.element,
    );
    this.flows.element.classList.add('while-heard');
    this.all = h('button', { type: 'button', class: 'all', 'aria-expanded': 'false', on: { click: () => this.showAll() } }, 'Show its inputs, counters and past');
    const back = h('a', { class: 'button back', href: '#/', 'aria-keyshortcuts': 'Escape' }, icon('back'), 'Channels');
    this.heading = h('h1', { id: 'detail-name', tabindex: '-1' }, this.name);
    byId('detail').replaceChildren(h('div', { class: 'detail-head' }, back, this.heading, this.state, h('span', { class: 'grow' }), this.copy, this.play), this.reasons, this.missing, this.all, this.counted, this.rest);
  }

  chartsSection() {
    const history = `api/v1/history?channel=${encodeURIComponent(this.name)}&format=csv`;
    const buttons = SPANS.map(([label, span]) => {
      const button = h('button', { type: 'button', 'aria-pressed': String(span === 600) }, label);
      button.addEventListener('click', () => {
        for (const other of buttons) setAttribute(other, 'aria-pressed', other === button);
        for (const chart of this.charts) chart.show(span);
      });
      return button;
    });
    const choice = h('div', { class: 'choice', role: 'group', 'aria-label': 'Time shown' }, ...buttons);
    const csv = h('a', { class: 'button', href: history, download: true }, icon('download'), 'CSV');
    this.course = h('section', { 'aria-label': 'Charts' }, h('div', { class: 'section-head' }, h('h2', {}, 'Charts'), choice, csv), h('div', { class: 'charts' }, ...this.charts.map((chart) => chart.element)));
    return this.course;
  }

  /** Of a silent channel the cause stands there alone, until somebody wants more. */
  showAll() {
    const shown = this.all.getAttribute('aria-expanded') !== 'true';
    setAttribute(this.all, 'aria-expanded', shown);
    setText(this.all, shown ? 'Show the cause alone' : 'Show its inputs, counters and past');
    byId('detail').classList.toggle('shows-all', shown);
  }

  /** Counts from now on, or shows all again. */
  async reset() {
    const { known } = this;
    if (!known?.detail?.counters) return;
    await reset(known.detail);
    this.draw(known);
  }

  drawReset() {
    const at = since(this.name);
    setAttribute(this.resets, 'aria-pressed', at > 0);
    setText(this.resetWord, at ? 'Show all again' : 'Reset counters');
    setText(this.counted, at ? `Counters and tables count since ${clock(at)}, in this page alone.` : '');
    this.counters.say(at ? `Counters since ${clock(at)}` : 'Counters since the start');
  }

  /** Opens one flow, or with '' none. */
  openFlow(flow) {
    this.oneFlow.open(flow);
    show({ flow });
    if (flow) this.oneFlow.element.scrollIntoView({ block: 'nearest' });
  }

  togglePlay() {
    if (!this.film) {
      this.film = new Film(this.about);
      this.filmPlace.append(this.film.element);
    }
    if (this.film.playing) this.film.stop();
    else this.film.play();
    setText(this.playWord, this.film.playing ? 'Stop' : 'Play');
    setIcon(this.playIcon, this.film.playing ? 'stop' : 'play');
  }

  draw(state) {
    if (state.detail?.name !== this.name) return;
    this.known = state;
    const { missing } = state.detail;
    this.missing.hidden = !missing;
    this.rest.hidden = Boolean(missing);
    this.copy.hidden = Boolean(missing);
    if (missing) return;
    const detail = counted(state.detail);
    this.drawReset();
    this.drawHead(detail);
    // Of a channel that was silent all the time there is nothing to see but why.
    const { columns } = detail.history;
    this.course.hidden = detail.row.health[0] === 'silent' && !columns.bytes.some(Boolean);
    const marks = [...state.events.values()].filter((event) => event.channel === this.name && event.level !== 'info');
    seriesOf(detail.history).forEach((data, index) => this.charts[index].draw(data, marks));
    if (detail.flows) this.flows.draw(detail.flows, state.values);
    if (detail.flow) this.oneFlow.draw(detail.flow, state.values);
    this.legs.draw(detail.legs, detail.legs.address.length);
    this.outputs.draw(detail.outputs, detail.outputs.address.length);
    this.subscribers.draw(detail.subscribers, detail.subscribers.transport.length, (columns, row) => columns.joined[row] > 0);
    this.drawClients(detail);
    this.drawCounters(detail);
    this.events.draw(state.events, this.name);
  }

  /** Those who missed most, then the newest; none where the relay only counts them. */
  drawClients({ clients, control }) {
    if (control && this.actors) {
      const { element } = this.clients;
      this.clients = this.actors();
      this.actors = null;
      element.replaceWith(this.clients.element);
    }
    this.clients.element.hidden = !clients;
    if (!clients) return;
    this.clients.draw(clients, clients.address.length);
    this.clients.say(clients.total > clients.address.length ? `${count(clients.total - clients.address.length)} more in the CSV.` : '');
  }

  drawHead({ row, reasons, strip: lost, rescued }) {
    const [health] = row.health;
    this.state.hidden = false;
    setAttribute(this.state, 'data-health', health);
    setAttribute(byId('detail'), 'data-health', health);
    setIcon(this.stateIcon, health);
    setText(this.stateWord, health);
    const shown = reasons.length > 0 ? reasons : ['All that was sent goes out.'];
    if ([...this.reasons.children].map((item) => item.textContent).join('\n') !== shown.join('\n')) {
      this.reasons.replaceChildren(...shown.map((reason) => h('li', {}, reason)));
    }
    Object.assign(this.about, { path: row.path[0], kind: kindOf(row.content[0], row.format[0]) });
    const playable = isFilm(row.content[0], row.format[0]);
    if (this.play.hidden === playable) this.play.hidden = !playable;
    if (this.wantsPlay && playable) {
      this.wantsPlay = false;
      this.togglePlay();
    }
    this.strip.draw(lost, rescued);
    this.bar.draw(recentOf(row, 0));
    this.drawFacts(row);
  }

  drawFacts(row) {
    const values = {
      received: packets(row.packets_per_second[0]),
      'bit rate': bits(row.bits_per_second[0]),
      content: row.content[0] ?? 'not known yet',
      format: row.format[0],
      flows: count(row.flows[0]),
      hold: time(row.hold_seconds[0]),
      jitter: time(row.jitter_seconds[0]),
      held: plural(row.held[0], 'packet'),
    };
    for (const [name, text] of Object.entries(values)) {
      if (!this.facts.has(name)) {
        const value = h('dd');
        this.facts.set(name, value);
        this.factList.append(h('div', {}, h('dt', {}, name), value));
      }
      setText(this.facts.get(name), text);
    }
  }

  drawCounters({ counters, rejects }) {
    const useless = Object.entries(rejects).map(([name, value]) => [`of no use: ${name}`, value]);
    const shown = Object.entries(counters).concat(useless);
    this.counters.draw(Object.fromEntries(shown.map(([name, value]) => [name.replaceAll('_', ' '), value])));
  }

  end() {
    document.removeEventListener('themechange', this.listen);
    this.film?.stop();
    this.charts.forEach((chart) => chart.end());
    this.oneFlow.end();
    byId('detail').replaceChildren();
    byId('detail').removeAttribute('data-health');
    byId('detail').classList.remove('shows-all');
  }
}
