// The console's words, English and Chinese. `word(key)` gives the one in use.
"use strict";

const WORDS = {
  en: {
    devices: "Devices", workflows: "Workflows", deployments: "Deployments",
    executions: "Executions", login: "Log in", logout: "Log out", username: "User name",
    password: "Password", other_language: "中文", live: "live", connecting: "connecting…",
    device: "Device", online: "online", offline: "offline", revoked: "revoked",
    last_seen: "Last seen", labels: "Labels", agent: "Agent", desired: "Desired state",
    ledger: "Results", complete_to: "complete to", missing: "missing", repeated: "repeated",
    dropped: "dropped on the device", workflow: "Workflow", revision: "Revision",
    version: "Version", steps: "Steps", plugins: "Plugins", triggers: "Triggers",
    created: "Made", by: "by", target: "Where", state: "State", pending: "pending",
    active: "active", refused: "refused", run: "Run", status: "Status", trigger: "Trigger",
    accepted: "Accepted", settled: "Settled", error: "Error", step: "Step", kind: "Kind",
    attempts: "Attempts", output: "Output", started: "Started", inputs: "Inputs",
    outputs: "Outputs", result: "Result number", close: "Close", cancel: "Cancel",
    retry: "Run again", none: "Nothing here yet.", more: "More", asked: "The wish was written down.",
    stayed: "Version {0} is in force by now. This run stays with version {1}, because it cannot go on with the newer one: ",
    download_recording: "Download recording",
    download_hint: "What the device wrote down of this run, for openclaw replay",
    recording_asked: "Asking {0} for the recording …",
    recording_here: "Downloaded. Play it with: openclaw replay {0}.ocr",
    recording_later: "{0} has not sent the recording yet. The wish is kept: try again later.",
    record: "Record", record_next: "Record the next", record_runs: "runs of {0}",
    record_hint: "The device keeps what it tells the plugins, so that they can run again at your desk. 0 takes it back.",
    records_next: "{0} records the next {1} runs of {2}.", records_none: "{0} records no further runs of {2}.",
    answers_later: "{0} has not answered yet. It will when it is online; the wish is kept.",
    resumed: "Interruptions survived", events: "Events", filter: "Filter by device",
    approvals: "Waiting for your answer", approve: "approve", reject: "reject", asked_at: "Asked", for_whom: "For", question: "Question",
    more_approvals: "There are more: openclaw run approvals lists all.",
    waits_for: "waits for", wait_mqtt: "an MQTT message", wait_event: "an event",
    wait_signal: "a signal", wait_until: "a condition to become true", wait_approval: "an answer",
    wait_call: "the run it called", wait_broker: "the local broker", wait_clock: "a trusted clock",
    waiting: "waiting", log: "Log", at: "When", level: "Level", message: "Message",
    fields: "Fields", more_log: "There is more: see the events of this execution.",
    undone: "undone", not_undone: "not all undone",
    plugin: "Plugin", category: "Category", description: "What it does", may_touch: "May touch",
    ready: "ready", pending_approval: "waits for approval", yanked: "yanked",
    deprecated: "deprecated", not_approved: "not approved",
  },
  zh: {
    devices: "设备", workflows: "工作流", deployments: "部署", executions: "执行",
    login: "登录", logout: "退出", username: "用户名", password: "密码",
    other_language: "English", live: "实时", connecting: "连接中…", device: "设备",
    online: "在线", offline: "离线", revoked: "已吊销", last_seen: "最近联系", labels: "标签",
    agent: "代理", desired: "期望状态", ledger: "结果", complete_to: "完整至",
    missing: "缺失", repeated: "重复", dropped: "设备端丢弃", workflow: "工作流",
    revision: "修订", version: "版本", steps: "步骤", plugins: "插件", triggers: "触发器",
    created: "创建于", by: "创建者", target: "目标", state: "状态", pending: "等待中",
    active: "已生效", refused: "已拒绝", run: "执行", status: "状态", trigger: "触发器",
    accepted: "接受于", settled: "结束于", error: "错误", step: "步骤", kind: "类型",
    attempts: "尝试次数", output: "输出", started: "开始于", inputs: "输入", outputs: "输出",
    result: "结果编号", close: "关闭", cancel: "取消", retry: "重新执行",
    none: "暂无内容。", more: "更多", asked: "请求已记录。", resumed: "经历的中断",
    stayed: "版本 {0} 已生效。此执行仍按版本 {1} 进行，因为它不能改用较新的版本：",
    download_recording: "下载录制", download_hint: "设备对此执行的记录，供 openclaw replay 使用",
    recording_asked: "正在向 {0} 请求录制……", recording_here: "已下载。重放：openclaw replay {0}.ocr",
    recording_later: "{0} 尚未发来录制。请求已保留，请稍后再试。",
    record: "录制", record_next: "录制接下来的", record_runs: "次 {0} 执行",
    record_hint: "设备会留下它告诉插件的内容，使插件能在您这里再次运行。0 表示取消。",
    records_next: "{0} 将录制 {2} 接下来的 {1} 次执行。", records_none: "{0} 不再录制 {2} 的执行。",
    answers_later: "{0} 尚未答复。设备上线后会答复；请求已保留。",
    events: "事件", filter: "按设备筛选",
    approvals: "等待您的答复", approve: "批准", reject: "拒绝", asked_at: "提问于", for_whom: "可答复者", question: "问题",
    more_approvals: "还有更多：用 openclaw run approvals 查看全部。",
    waits_for: "正在等待", wait_mqtt: "MQTT 消息", wait_event: "事件", wait_signal: "信号",
    wait_until: "条件成立", wait_approval: "人工答复", wait_call: "所调用的执行",
    wait_broker: "本地消息代理", wait_clock: "可信时钟", waiting: "等待中", log: "日志",
    at: "时间", level: "级别", message: "内容", fields: "字段",
    running: "运行中", completed: "已完成", failed: "已失败", cancelled: "已取消", queued: "排队中",
    delayed: "已推迟", succeeded: "成功", skipped: "已跳过", bypassed: "已绕过",
    more_log: "还有更多：见该执行的事件。", undone: "已撤销", not_undone: "未能全部撤销",
    plugin: "插件", category: "类别", description: "用途", may_touch: "可以碰什么",
    ready: "可用", pending_approval: "等待批准", yanked: "已下架", deprecated: "已弃用",
    not_approved: "未批准",
  },
};

let language = localStorage.getItem("openclaw.language")
  || (navigator.language.startsWith("zh") ? "zh" : "en");

function word(key) {
  return WORDS[language][key] || WORDS.en[key] || key;
}

// A sentence with values in the places {0}, {1} and so on.
function say(key, ...values) {
  return word(key).replace(/\{(\d)\}/g, (_, n) => values[n]);
}
