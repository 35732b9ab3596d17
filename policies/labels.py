"""Chinese names of everything a policy file may say, for people who read it."""

from __future__ import annotations

FIELDS = {
    "access": "查阅和提供", "acts": "哪些行为怎样录", "approver": "批准人", "articles": "发现所引的条",
    "asked": "文件要求", "authority": "机关", "backup": "备份", "besides": "另外还要", "by": "由谁",
    "causes": "所列原因",
    "checks": "检查", "clock_tolerance": "时钟误差", "condition": "情形", "conditions": "情形",
    "confirm": "获取当事人确认", "confirmation": "确认书", "consents": "同意事项", "content": "应反映",
    "copies": "份数", "coverage": "覆盖", "dated": "日期", "delay": "延期", "device": "设备", "disc": "光盘标签",
    "document": "文件", "each_side": "前后各", "effective": "施行", "evidence": "作为证据",
    "evidence_by": "由谁定为证据", "expiry": "到期", "explanation": "说明中止原因",
    "export": "证据复制", "facts": "语音说明", "finding_hold": "发现前后留存", "finding_kinds": "哪些发现",
    "findings": "按发现的种类",
    "fixed_place": "固定场所", "floor": "最短锁定", "kinds": "所及设备", "labels": "标注", "lead_due": "线索处置时限",
    "ledger": "台账", "listed_for": "先列出", "logged": "记录在案", "long_term": "长期保存的情形", "medium": "介质",
    "misconduct": "违规行为", "no_keeping": "不得自行保管", "note": "文字说明", "notice": "告知",
    "notify": "告知当事人", "number": "文号", "off_site": "异地备份", "oldest": "最久间隔",
    "open": "表外原因可由人认可",
    "ordinary": "一般", "outside": "不适用", "paper_tolerance": "与文书的时间差", "per_officer": "每名执法人员配备",
    "pieces": "可以断续记录", "premises": "当事人场所里的监控", "prior": "事先批准", "promise": "书面承诺",
    "quality": "应当", "register": "登记也在期限内", "remote": "边远等情形", "report": "报告",
    "retention": "保存期限", "review": "由人审看的类别", "reviewer": "审核人",
    "regulated": "有规定", "scene": "拍明场所", "scope": "适用",
    "secrecy": "保密", "sort_by": "分类", "speech": "算作说明的说话", "spoken": "录像中的话", "starts": "起算",
    "stops": "中止记录", "store_by": "储存期限", "stored": "入库标注", "tampering": "不得", "timely": "提醒",
    "to": "向谁", "types": "种类", "unbroken": "全程无间断的另引", "unknown": "类别未定", "uses": "用途",
    "verification": "检定", "voice": "语音说明", "warn_left": "剩多少时提醒", "when": "何时", "within": "期限",
    "wording": "原文", "work_record": "工作记录", "written": "书面说明",
}  # fmt: skip

UNITS = {
    "seconds": "秒",
    "minutes": "分钟",
    "hours": "小时",
    "days": "天",
    "working_days": "个工作日",
    "months": "个月",
    "years": "年",
}

LEVELS = {
    "full": "全程，不得间断",
    "synchronous": "同步",
    "av": "应当有音像",
    "situational": "根据实际情况",
    "none": "只有文书",
}

BOUNDS = {
    "at_least": "至少",
    "then_review": "到期由人审看",
    "set_by_organ": "由机构确定",
    "case_file": "与案卷相同",
    "long_term": "长期",
    "archives_law": "按档案法",
    "undecided": "不删除",
}

MAY = {
    "search": "查询",
    "view": "查阅",
    "copy": "复制",
    "evidence_copy": "证据复制",
    "release": "对外提供",
    "publish": "发布",
}
