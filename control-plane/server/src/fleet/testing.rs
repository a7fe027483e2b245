//! A control plane on SQLite with its gate open, and a device that is only a sync session, a list
//! of records in memory and the real MQTT client.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use openclaw_protocol::api::{EnrollRequest, EnrollResponse};
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::id::{DeviceId, Digest, Epoch, RequestId, RunId, TenantId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunResult, RunStatus};
use openclaw_protocol::sync::{Config, Cursor, Holding, Lane, Output, Record, Session, chain};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::topic::{self, Direction};
use openclaw_protocol::wire::{self, Kind};
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{
    AsyncClient, ConnectionError, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::{FleetHandle, ca};
use crate::broker::testing::{Credentials, PATIENCE, client_tls, within};
use crate::clock::Clock;
use crate::config::{self, DEFAULT_TENANT};
use crate::context::{Addresses, Ctx, NudgeKind};
use crate::init;
use crate::random;
use crate::service::Outcome;
use crate::store::join_codes::{self, JoinCodeRow};
use crate::store::{Arg, requests};

/// A control plane that can be stopped and started again on the same folder and port.
pub(super) struct Plane {
    pub(super) ctx: Ctx,
    handle: FleetHandle,
    lock: std::fs::File,
}

impl Plane {
    /// Starts on this folder and database; port 0 takes a free one.
    pub(super) async fn start(dir: &Path, port: u16, database: &str) -> Self {
        let config = config::Config {
            data_dir: dir.to_owned(),
            public_host: "127.0.0.1".to_owned(),
            mqtt: config::Mqtt {
                bind: SocketAddr::from(([127, 0, 0, 1], port)),
                ..config::Mqtt::default()
            },
            database: config::Database { url: database.to_owned() },
            ..config::Config::default()
        };
        let password = Some("correct horse battery".to_owned());
        let opened = init::open(config, Clock::System, password).await.unwrap();
        let handle = super::start(opened.ctx.clone()).await.unwrap();
        let addresses = Addresses { http: handle.addr, mqtt: handle.addr };
        opened.ctx.addresses.set(addresses).unwrap();
        Self { ctx: opened.ctx, handle, lock: opened.lock }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.handle.addr
    }

    /// As a clean stop of the process; gives the port back.
    pub(super) async fn stop(self) -> u16 {
        let port = self.handle.addr.port();
        self.ctx.stop.cancel();
        within("the fleet's end", self.handle.finished()).await;
        self.ctx.db.close().await;
        drop(self.lock);
        port
    }

    /// A join code's secret for this device.
    pub(super) async fn join_code(&self, device: &str, life_ms: i64) -> String {
        let now_ms = self.ctx.clock.now_ms();
        let secret = random::secret();
        let row = JoinCodeRow {
            tenant: tenant(),
            device: DeviceId::parse(device).unwrap(),
            labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
            created_by: "user:ann".to_owned(),
        };
        let mut tx = self.ctx.db.write().await.unwrap();
        join_codes::insert(&mut tx, &random::hash(&secret), &row, now_ms, now_ms + life_ms)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        secret
    }

    pub(super) async fn enroll(
        &self,
        code: &str,
        key: &KeyPair,
        from: u8,
    ) -> Outcome<EnrollResponse> {
        let csr = CertificateParams::default().serialize_request(key).unwrap();
        let request = EnrollRequest { code: code.to_owned(), csr_pem: csr.pem().unwrap() };
        super::enroll(&self.ctx, request, IpAddr::from([192, 0, 2, from])).await
    }

    /// A device that has enrolled.
    pub(super) async fn device(&self, id: &str) -> Device {
        let (credentials, ca_pem) = self.credentials(id).await;
        Device::new(credentials, ca_pem, self.addr(), random::number(), None)
    }

    /// What a device of this id gets when it enrols.
    pub(super) async fn credentials(&self, id: &str) -> (Credentials, String) {
        let code = self.join_code(id, 60_000).await;
        let key = KeyPair::generate().unwrap();
        let answer = self.enroll(&code, &key, 1).await.unwrap();
        assert_eq!((answer.tenant.as_str(), answer.device.as_str()), (DEFAULT_TENANT, id));
        let credentials = Credentials {
            tenant: tenant(),
            device: DeviceId::parse(id).unwrap(),
            certificate_pem: answer.certificate_pem,
            key_pem: key.serialize_pem(),
        };
        (credentials, answer.ca_pem)
    }

    /// Wishes the end of some run of a device; the wish's name is `wish-<n>`.
    pub(super) async fn wish(&self, device: &DeviceId, n: u32) {
        let request = RequestId::parse(&format!("wish-{n}")).unwrap();
        let run = RunId::parse(&format!("abc-{n}")).unwrap();
        let command = Command::Cancel { run, force: false };
        let body = wire::pack(Kind::Command, &CommandRecord { request: request.clone(), command });
        let new = requests::NewRequest { id: &request, device, body, created_by: "t", run: None };
        let mut tx = self.ctx.db.write().await.unwrap();
        assert!(requests::append(&mut tx, &tenant(), new, 1).await.unwrap());
        tx.commit().await.unwrap();
        self.ctx.nudges.send(&tenant(), device, NudgeKind::Commands);
    }

    /// Changes something behind everybody's back.
    pub(super) async fn change(&self, sql: &'static str, args: Vec<Arg>) -> u64 {
        let mut tx = self.ctx.db.write().await.unwrap();
        let touched = tx.run(sql, args).await.unwrap();
        tx.commit().await.unwrap();
        touched
    }

    /// One number out of the database.
    pub(super) async fn number(&self, sql: &'static str) -> i64 {
        let mut tx = self.ctx.db.read().await.unwrap();
        tx.row(sql, Vec::new()).await.unwrap().unwrap().int("n").unwrap()
    }
}

pub(super) fn tenant() -> TenantId {
    TenantId::parse(DEFAULT_TENANT).unwrap()
}

/// A packed result of run `number`.
pub(super) fn result(epoch: u64, number: u64) -> Vec<u8> {
    let at =
        Stamp { boot: 1, boot_ms: number, wall_ms: 1_790_000_000_000, trust: ClockTrust::Synced };
    let result = RunResult {
        run: RunId::of(Epoch(epoch), number),
        workflow: WorkflowName::parse("measure").unwrap(),
        version: "1".to_owned(),
        definition: DefinitionHash("0".repeat(64)),
        trigger: "every".to_owned(),
        request: None,
        priority: Priority::Normal,
        status: RunStatus::Completed,
        accepted: at,
        settled: at,
        inputs: JsonText::of(&serde_json::json!({})),
        outputs: JsonText::of(&serde_json::json!({ "number": number })),
        error: None,
        steps: 1,
    };
    wire::pack(Kind::RunResult, &result)
}

enum Heard {
    Subscribed,
    Frame(Vec<u8>),
    End(ConnectionError),
}

struct Link {
    client: AsyncClient,
    heard: mpsc::Receiver<Heard>,
    _loop: AbortOnDropHandle<()>,
}

/// A device.
pub(super) struct Device {
    pub(super) credentials: Credentials,
    pub(super) addr: SocketAddr,
    pub(super) epoch: u64,
    ca_pem: String,
    lanes: BTreeMap<Lane, Vec<Record>>,
    pub(super) acked: BTreeMap<Lane, Cursor>,
    pub(super) generation: u64,
    pub(super) commands: Vec<Record>,
    pub(super) desired: Option<(Desired, SignedDesired)>,
    wanted: Vec<Digest>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(super) ends: Vec<ConnectionError>,
    session: Session,
    link: Option<Link>,
    retry_at: Instant,
    began: Instant,
}

impl Device {
    /// With a database under this epoch; `knows` what it has of the control plane, where it has
    /// heard of it.
    fn new(
        credentials: Credentials,
        ca_pem: String,
        addr: SocketAddr,
        epoch: u64,
        knows: Option<(u64, u64)>,
    ) -> Self {
        let (peer_log, desired_revision) = knows.unwrap_or_default();
        let holdings = Lane::UP.map(|lane| Holding { lane, oldest: 1, next: 1 });
        let session = Session::new(Config {
            log: epoch,
            holdings: holdings.to_vec(),
            peer_log,
            cursors: Vec::new(),
            peer_lanes: Lane::DOWN.to_vec(),
            desired_revision,
            seed: epoch,
        });
        let began = Instant::now();
        Self {
            credentials,
            addr,
            epoch,
            ca_pem,
            lanes: BTreeMap::new(),
            acked: BTreeMap::new(),
            generation: peer_log,
            commands: Vec::new(),
            desired: None,
            wanted: Vec::new(),
            blobs: BTreeMap::new(),
            ends: Vec::new(),
            session,
            link: None,
            retry_at: began,
            began,
        }
    }

    /// The same machine with another, empty database.
    pub(super) fn wiped(self) -> Self {
        Self::new(self.credentials, self.ca_pem, self.addr, random::number(), None)
    }

    /// The same machine with a copy of its database that goes on under another epoch. (Its commands
    /// are left out of the copy.)
    pub(super) fn cloned(self) -> Self {
        let revision = self.desired.as_ref().unwrap().0.revision;
        let knows = Some((self.generation, revision));
        Self::new(self.credentials, self.ca_pem, self.addr, random::number(), knows)
    }

    /// The same machine and database with what it was given at another enrolment.
    pub(super) fn rejoin(&mut self, credentials: Credentials) {
        self.credentials = credentials;
        self.link = None;
        self.session.handle_disconnected();
        self.ends.clear();
    }

    /// The numbers of the commands it was given, without those that others stand for.
    pub(super) fn wishes(&self) -> Vec<u64> {
        let is_wish = |r: &&Record| {
            wire::unpack::<CommandRecord>(Kind::Command, &r.body, limits::RECORD_BYTES).is_ok()
        };
        self.commands.iter().filter(is_wish).map(|record| record.seq).collect()
    }

    pub(super) fn append(&mut self, lane: Lane, body: Vec<u8>) {
        let records = self.lanes.entry(lane).or_default();
        let digest = chain(records.last().map_or(0, |last| last.digest), &body);
        let seq = records.len() as u64 + 1;
        records.push(Record { seq, digest, body });
        let now_ms = self.now_ms();
        self.session.handle_appended(lane, seq + 1, now_ms);
    }

    /// Everything of a lane is acknowledged.
    pub(super) fn is_home(&self, lane: Lane) -> bool {
        self.session.unacked(lane) == 0
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_up()
    }

    pub(super) fn want(&mut self, digest: Digest) {
        let now_ms = self.now_ms();
        self.session.want(digest, 0, now_ms);
    }

    /// Lives until something is so.
    pub(super) async fn live_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let living = async {
            self.perform();
            while !done(self) {
                self.step().await;
                self.perform();
            }
        };
        if tokio::time::timeout(PATIENCE, living).await.is_err() {
            let (up, commands) = (self.session.is_up(), self.commands.len());
            panic!(
                "{what} did not happen; up: {up}, {commands} commands, acked {:?}, ends {:?}, wanted \
                 {:?}, blobs {:?}",
                self.acked,
                self.ends,
                self.wanted,
                self.blobs.iter().map(|(digest, blob)| (digest, blob.len())).collect::<Vec<_>>()
            );
        }
    }

    /// Lives for a while; answers what is acknowledged then.
    pub(super) async fn live_for(&mut self, time: Duration) -> Vec<Cursor> {
        let living = async {
            loop {
                self.perform();
                self.step().await;
            }
        };
        let _elapsed: Result<(), _> = tokio::time::timeout(time, living).await;
        self.acked.values().cloned().collect()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    async fn step(&mut self) {
        let due = self.session.poll_timeout().map(|(ms, _)| self.began + Duration::from_millis(ms));
        let Some(link) = &mut self.link else {
            sleep_until(self.retry_at).await;
            self.connect();
            return;
        };
        let timer = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            heard = link.heard.recv() => Some(heard.expect("a link ends with a word")),
            () = timer => None,
        };
        let now_ms = self.now_ms();
        match heard {
            None => self.session.handle_timeout(now_ms),
            Some(Heard::Subscribed) => self.session.handle_connected(now_ms),
            Some(Heard::Frame(frame)) => self.session.handle_frame(&frame, now_ms).unwrap(),
            Some(Heard::End(error)) => {
                self.ends.push(error);
                self.session.handle_disconnected();
                self.link = None;
                self.retry_at = Instant::now() + Duration::from_millis(20);
            }
        }
    }

    fn connect(&mut self) {
        let own = &self.credentials;
        let host = self.addr.ip().to_string();
        let mut options = MqttOptions::new(own.device.as_str(), host, self.addr.port());
        let tls = client_tls(&self.ca_pem, Some(own));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        options.set_max_packet_size(limits::FRAME_BYTES + 1024, limits::FRAME_BYTES + 1024);
        let (client, mut eventloop) = AsyncClient::new(options, 100);
        client
            .try_subscribe(topic::sync(&own.tenant, &own.device, Direction::Down), QoS::AtLeastOnce)
            .unwrap();
        let (tell, heard) = mpsc::channel(100);
        let task = tokio::spawn(async move {
            loop {
                let word = match eventloop.poll().await {
                    Ok(Event::Incoming(Packet::SubAck(_))) => Heard::Subscribed,
                    Ok(Event::Incoming(Packet::Publish(p))) => Heard::Frame(p.payload.to_vec()),
                    Ok(_) => continue,
                    Err(error) => Heard::End(error),
                };
                let last = matches!(word, Heard::End(_));
                if tell.send(word).await.is_err() || last {
                    return;
                }
            }
        });
        self.link = Some(Link { client, heard, _loop: AbortOnDropHandle::new(task) });
    }

    fn perform(&mut self) {
        let up = self.credentials.topic(Direction::Up);
        while let Some(output) = self.session.poll_output() {
            let now_ms = self.now_ms();
            match output {
                Output::Send(frame) => {
                    let client = self.link.as_ref().map(|link| &link.client);
                    // A full queue loses it, as a wire may.
                    let send = |c: &AsyncClient| c.try_publish(&up, QoS::AtLeastOnce, false, frame);
                    drop(client.map(send));
                }
                Output::Load { lane, first, before, bytes } => {
                    let mut size = 0;
                    let wanted = |r: &&Record| r.seq >= first && r.seq < before;
                    let all = self.lanes.get(&lane).into_iter().flatten().filter(wanted);
                    let fitting = all.take_while(|r| {
                        size += r.body.len();
                        size <= bytes.max(r.body.len())
                    });
                    let records = fitting.take(limits::BATCH_RECORDS).cloned().collect();
                    self.session.handle_loaded(lane, records, now_ms);
                }
                Output::Deliver { lane, records, .. } => {
                    self.commands.extend(records);
                    let last = self.commands.last().unwrap();
                    let (upto, digest) = (last.seq, last.digest);
                    self.session
                        .handle_committed(lane, Cursor { lane, upto, digest, ranges: vec![] });
                }
                Output::Acked { cursor } => drop(self.acked.insert(cursor.lane, cursor)),
                Output::Desired { announcement, .. } => {
                    self.wanted.push(announcement.digest);
                    self.session.want(announcement.digest, 0, now_ms);
                }
                Output::Chunk { digest, offset, total, bytes } => {
                    self.chunk(digest, offset, total, &bytes);
                }
                Output::UnknownPeerLog { log } => {
                    self.generation = log;
                    self.session.handle_peer_cursors(log, Vec::new());
                }
                Output::Dead => panic!("the control plane is taken for dead"),
                Output::Forked { .. } | Output::LoadChunk { .. } => panic!("{output:?}"),
                Output::Verify { lane, seq, digest } => {
                    let own = &self.lanes[&lane][usize::try_from(seq - 1).unwrap()];
                    assert_eq!(own.digest, digest, "the control plane has what we sent");
                }
                Output::BlobMissing { .. } | Output::Up { .. } => {}
            }
        }
    }

    fn chunk(&mut self, digest: Digest, offset: u32, total: u32, bytes: &[u8]) {
        let blob = self.blobs.entry(digest).or_default();
        assert_eq!(blob.len(), usize::try_from(offset).unwrap(), "chunks come in order");
        blob.extend(bytes);
        if blob.len() < usize::try_from(total).unwrap() {
            return;
        }
        assert_eq!(ca::sha256(blob), digest);
        if self.wanted.contains(&digest) {
            let signed: SignedDesired =
                wire::unpack(Kind::SignedDesired, blob, limits::DESIRED_BYTES).unwrap();
            let desired: Desired =
                wire::unpack(Kind::Desired, &signed.document, limits::DESIRED_BYTES).unwrap();
            self.session.handle_desired_in_force(desired.revision);
            self.desired = Some((desired, signed));
        }
    }
}
